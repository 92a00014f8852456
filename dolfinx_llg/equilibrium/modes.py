# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Small oscillations about an equilibrium, by SLEPc.

In the tangent plane at m, with J the turn by 90 degrees about m, the Landau-Lifshitz equation
linearised at rest is :math:`M \dot\varphi = J H \varphi`, and :math:`\varphi = X e^{i \omega t}`
solves

.. math:: H X = i \omega S X, \quad S = -J M = -S^T, \qquad
          (S^T H^{-1} S)\, a = \omega^{-2} H a

for the real and the imaginary part of X alike (d'Aquino et al., J. Comput. Phys. 228 (2009) 6130):
a symmetric pencil whose largest eigenvalues are the lowest frequencies, each twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
from dolfinx import fem

from dolfinx_llg.checks import check_array, check_integer, check_number
from dolfinx_llg.equilibrium.landscape import Landscape
from dolfinx_llg.equilibrium.stability import local_field
from dolfinx_llg.equilibrium.tangent import TangentHessian, as_preconditioner, lowest_eigenvalue
from dolfinx_llg.errors import ConvergenceError
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.la.krylov import Krylov, Options
from dolfinx_llg.physics.energy import Energy
from dolfinx_llg.physics.interaction import FieldTerm
from dolfinx_llg.typing import Array

__all__ = ["Modes", "eigenmodes"]

DIRECT = {
    "ksp_type": "preonly",
    "pc_type": "cholesky",
    "pc_factor_mat_solver_type": "mumps",
    # The count of negative pivots needs the root on one process, and null pivots looked for.
    "mat_mumps_icntl_13": 1,
    "mat_mumps_icntl_24": 1,
}
ITERATIVE = {"ksp_type": "cg", "ksp_rtol": 1e-9, "ksp_max_it": 500}
LARGEST_DIRECT = {1: 10**7, 2: 500_000, 3: 60_000}
"""Unknowns up to which "auto" factorizes, by dimension: fill-in grows with it."""


@dataclass(frozen=True)
class Modes:
    r"""Eigenmodes :math:`\mathrm{Re}\,((a + i b) e^{i \omega t})`, of ascending frequency.

    Attributes:
        omega: Angular frequencies in units of gamma0 Ms0, shape (k,); over 2 pi
            ``units.time_unit`` in Hz.
        widths: Rates at which the amplitudes decay per unit of damping, shape (k,): the decay is
            ``damping * widths``, the full width of the absorption line in omega twice that.
        real, imaginary: a and b as functions, normalised to a.H a = b.H b = 1: the long and the
            short half axis of the ellipses, as a mean over the magnet.
        zero: Whether the mode moves in a direction that costs no energy (a wall that shifts, a spin
            that turns about an axis), shape (k,): its frequency is 0 to the accuracy of the mesh.
        lowest: A bound for the lowest eigenvalue of the Hessian from these modes, in units of Ms0.
        solves: Solves with the Hessian.
    """

    omega: Array
    widths: Array
    real: list[fem.Function] = field(repr=False)
    imaginary: list[fem.Function] = field(repr=False)
    zero: npt.NDArray[np.bool_]
    lowest: float
    solves: int
    _moments: Array = field(repr=False)
    _size: float = field(repr=False)

    def strengths(self, direction: Sequence[float]) -> Array:
        r"""Return how strongly a uniform oscillating field drives each mode, shape (k,).

        Near resonance the volume's mean susceptibility along the direction is
        :math:`s/(\omega_0 - \omega + i \Gamma)` with this s and the decay :math:`\Gamma`.

        Args:
            direction: Direction of the field, normalised here.

        Raises:
            ValueError: If it is no direction.
        """
        axis = check_array("direction", direction, (3,))
        if not np.linalg.norm(axis) > 0.0:
            raise ValueError("direction must not be zero")
        axis = axis / np.linalg.norm(axis)
        driven = np.sum((self._moments @ axis) ** 2, axis=1)
        return np.asarray(0.5 * self.omega * driven / self._size)


@checked
def eigenmodes(
    energy: Energy,
    m: fem.Function,
    k: int = 10,
    *,
    basis: GalerkinBasis | None = None,
    t: float = 0.0,
    solver: Literal["auto", "direct", "krylov"] = "auto",
    torque: float = 1e-3,
    tolerance: float | None = None,
    accuracy: float = 1e-8,
    petsc_options: Mapping[str, Any] | None = None,
    petsc_options_prefix: str = "llg_modes_",
) -> Modes:
    r"""Return the k eigenmodes of lowest frequency about a minimum of the energy.

    Args:
        energy: Energy.
        m: Magnetization at rest (``minimise``).
        k: Number of modes.
        basis: Subspace, as in ``minimise``.
        t: Time at which fields that depend on it are taken.
        solver: How the Hessian is inverted: "direct" (MUMPS), "krylov" (CG, preconditioned by the
            scalar solver of exchange and mass; fields with a solve are in the operator), or
            "auto": direct where there are no such fields and the size allows it.
        torque: Largest nodal \|m x h\| at which m counts as being at rest.
        tolerance: Eigenvalue of the Hessian, a field in units of Ms0, below which a direction is
            named free (``zero``), and above whose negative m still counts as a minimum; None:
            1e-4 of the mean local field.
        accuracy: Relative residual of the eigenvalues.
        petsc_options: Options of the solver with the Hessian (``ksp_rtol``, ...; ``scalar_`` of the
            preconditioner).
        petsc_options_prefix: Prefix under which the command line reaches it.

    Raises:
        ValueError: If m is not at rest or no minimum (naming torque or lowest eigenvalue), or k is
            not between 1 and the number of nodes.
        ConvergenceError: If a solve or the eigensolver fails.

    Note: Collective.
    """
    check_integer("k", k, 1)
    check_number("torque", torque, positive=True)
    check_number("accuracy", accuracy, positive=True)
    options = Options(petsc_options_prefix, petsc_options, tolerated=("scalar_",))
    land = Landscape(energy, m, basis, t, options)
    problem: _Problem | None = None
    try:
        p = land.enter(m)
        hessian = TangentHessian(land, p)
        if 2 * k > hessian.sizes[1]:
            raise ValueError(f"k must be at most {hessian.sizes[1] // 2} on this mesh, got {k}")
        scale = local_field(land, p)
        limit = 1e-4 * scale
        if tolerance is not None:
            limit = check_number("tolerance", tolerance, positive=True)
        if p.torque > torque:
            lowest, _ = lowest_eigenvalue(hessian, accuracy=1e-2 * scale, limit=60)
            raise ValueError(
                f"m is not a minimum: the largest nodal |m x h| is {p.torque:.3g}, at most "
                f"{torque:g} is at rest; lowest eigenvalue of the Hessian about {lowest:.3g}: "
                "minimise(energy, m) first"
            )
        fields = any(isinstance(term, FieldTerm) for term in energy.terms)
        if solver == "auto":
            size = LARGEST_DIRECT[m.function_space.mesh.topology.dim]
            solver = "krylov" if fields or hessian.sizes[1] > size else "direct"
        elif solver == "direct" and fields:
            raise ValueError("solver='direct' cannot hold fields that a solve gives: use 'krylov'")
        problem = _definite(hessian, scale, limit, solver, options)
        return problem.modes(k, accuracy, limit, m)
    finally:
        if problem is not None:
            problem.destroy()
        land.destroy()


def _definite(
    hessian: TangentHessian, scale: float, limit: float, solver: str, options: Options
) -> _Problem:
    """Return the pencil with a Hessian that is safely definite; refuse what is no minimum.

    Where a direction costs nothing H is shifted by a multiple of M. The frequencies are quotients
    of the unshifted H, right to second order in the shift.
    """
    own = options.given("pc_type") or options.given("pc_factor_mat_solver_type")
    if solver == "direct" and not own:  # MUMPS, which counts negative pivots
        problem = _Problem(hessian, 0.0, solver, options)
        if problem.negative_pivots() == 0 and problem.softest() > limit:
            return problem
        problem.destroy()
        problem = _Problem(hessian, limit, solver, options)
        if problem.negative_pivots() == 0:
            return problem
        problem.destroy()
        lowest, _ = lowest_eigenvalue(hessian, accuracy=1e-3 * scale)
    else:
        lowest, error = lowest_eigenvalue(hessian, accuracy=0.1 * limit)
        if lowest - error > -limit:
            shift = 0.0 if lowest - error > limit else 2.0 * limit
            return _Problem(hessian, shift, solver, options)
    raise ValueError(
        f"m is not a minimum: lowest eigenvalue of the Hessian {lowest:.6g} (a field in units of "
        "Ms0): minimise(energy, m) first, or this is a saddle"
    )


class _Problem:
    """The pencil with its solver; a PETSc matrix context for S^T H^-1 S."""

    def __init__(
        self, hessian: TangentHessian, shift: float, solver: str, options: Options
    ) -> None:
        self.hessian = hessian
        self.solves = 0
        if solver == "direct":
            self.H = hessian.matrix(shift)
            self.H.setOption(PETSc.Mat.Option.SYMMETRIC, True)
            self.krylov = Krylov(self.H, options, defaults=DIRECT)
        else:
            self.H = hessian.operator("times", shift)
            context = as_preconditioner(hessian)
            self.krylov = Krylov(self.H, options, defaults=ITERATIVE, context=context)
        self.krylov.set_up()
        self._b, self._x = hessian.vector(), hessian.vector()

    def destroy(self) -> None:
        for item in (self.krylov, self.H, self._b, self._x):
            item.destroy()

    def negative_pivots(self) -> int:
        """Return the number of negative eigenvalues of H (Sylvester), of its factorization."""
        return int(self.krylov.ksp.getPC().getFactorMatrix().getInertia()[0])

    def softest(self) -> float:
        """Return a bound for the lowest eigenvalue, by two inverse iterations."""
        land, hessian = self.hessian.land, self.hessian
        x = hessian.reduce(land.random_gradient(hessian.p, 0))
        for _ in range(2):
            x = x / np.sqrt(land.dot(x, x))
            self._b.setArray(x)
            self.krylov.apply(self._b, self._x)
            x = np.array(self._x.array_r)
        return land.dot(x, hessian.times(x)) / land.dot(x, hessian.mass_times(x))

    def inverse(self, b: Array) -> Array:
        """Return H^-1 b."""
        self.solves += 1
        self._b.setArray(b)
        self._x.set(0.0)
        self.krylov.solve(self._b, self._x).check("a solve with the Hessian (eigenmodes)")
        return np.array(self._x.array_r)

    def modes(self, k: int, accuracy: float, limit: float, m: fem.Function) -> Modes:
        """Solve the pencil, pair its vectors, and look again for copies of multiple ones.

        A Krylov space holds one vector of each frequency, and further ones by round-off alone: what
        is missing comes up where the known ones are deflated.
        """
        hessian, dot = self.hessian, self.hessian.land.dot
        kept: list[tuple[Array, Array]] = []  # x and (H + shift) x, of unit energy
        found: list[tuple[float, Array, Array]] = []
        wanted = 2 * k
        while 2 * len(found) < hessian.sizes[1]:
            known = [x for x, _ in kept]
            if len(found) >= k:  # a rough eigenvalue tells whether a lower frequency is left
                values, _ = self._largest(1, max(accuracy, 1e-3), known)
                if values[0] <= found[k - 1][0] * (1.0 + 1e-6):
                    break
            values, vectors = self._largest(wanted, accuracy, known)
            for value, v in zip(values, vectors, strict=True):
                Hv = self._times(v)
                for x, Hx in kept:
                    part = dot(x, Hv)
                    v, Hv = v - part * x, Hv - part * Hx
                size = dot(v, Hv)
                if size < 0.25:  # the partner of one that we have
                    continue
                a, Ha = v / np.sqrt(size), Hv / np.sqrt(size)
                b = self.inverse(hessian.spin(a)) / np.sqrt(value)
                Hb = self._times(b)
                norm = np.sqrt(dot(b, Hb))
                b, Hb = b / norm, Hb / norm
                kept += [(a, Ha), (b, Hb)]
                found.append((value, a, b))
            found.sort(key=lambda item: -item[0])
            wanted = max(1, 2 * (k - len(found)))
        return self._named(found[:k], limit, m)

    def _named(
        self, found: list[tuple[float, Array, Array]], limit: float, m: fem.Function
    ) -> Modes:
        hessian, land = self.hessian, self.hessian.land
        dot = land.dot
        rows, moments, functions = [], [], []
        for _, long, short in found:
            a, b = long, short
            # Of all phases that in which a has most mass, b least: the axes of the ellipse.
            cross, masses = dot(a, hessian.mass_times(b)), self._masses(a, b)
            phase = 0.5 * np.arctan2(2.0 * cross, masses[0] - masses[1])
            cos, sin = np.cos(phase), np.sin(phase)
            a, b = cos * a + sin * b, cos * b - sin * a
            energies, masses = [dot(x, hessian.times(x)) for x in (a, b)], self._masses(a, b)
            product = energies[0] * energies[1]
            omega = np.sqrt(max(product, 0.0)) / abs(dot(a, hessian.spin(b)))
            quotient = energies[0] / masses[0]
            rows.append((omega, sum(masses) * omega**2 / sum(energies), quotient))
            turns = [land.turn(hessian.p, hessian.expand(x)) for x in (a, b)]
            weighted = [land.volumes * turn for turn in turns]
            moments.append(
                [[land.dot(w[:, i : i + 1], np.ones((len(w), 1))) for i in range(3)]
                 for w in weighted]
            )  # fmt: skip
            for turn in turns:
                functions.append(fem.Function(m.function_space, name="mode"))
                land.field.assign(functions[-1], turn)
        order = np.argsort([row[0] for row in rows], kind="stable")
        table = np.array(rows)[order]
        return Modes(
            omega=table[:, 0],
            widths=table[:, 1],
            real=[functions[2 * i] for i in order],
            imaginary=[functions[2 * i + 1] for i in order],
            zero=table[:, 2] < limit,
            lowest=float(table[:, 2].min()),
            solves=self.solves,
            _moments=np.array(moments)[order],
            _size=dot(land.volumes, np.ones_like(land.volumes)),
        )

    def _masses(self, *vectors: Array) -> list[float]:
        dot = self.hessian.land.dot
        return [dot(x, self.hessian.mass_times(x)) for x in vectors]

    def _times(self, x: Array) -> Array:
        self._b.setArray(x)
        self.H.mult(self._b, self._x)
        return np.array(self._x.array_r)

    def _largest(
        self, count: int, accuracy: float, known: Sequence[Array]
    ) -> tuple[list[float], list[Array]]:
        """Return the largest eigenvalues of the pencil, but for the known vectors', with theirs.

        All vectors are of unit energy.
        """
        from slepc4py import SLEPc  # a DOLFINx without SLEPc can do the rest

        hessian = self.hessian
        comm = hessian.land.comm
        shape = (hessian.sizes, hessian.sizes)
        A = PETSc.Mat().createPython(shape, _Mult(self._forward), comm=comm)
        A.setUp()
        eps = SLEPc.EPS().create(comm)
        eps.setOperators(A, self.H)
        eps.setProblemType(SLEPc.EPS.ProblemType.GHEP)
        eps.setType(SLEPc.EPS.Type.KRYLOVSCHUR)
        eps.setWhichEigenpairs(SLEPc.EPS.Which.LARGEST_REAL)
        free = hessian.sizes[1] - len(known)
        wanted = min(count, free)
        eps.setDimensions(wanted, min(2 * wanted + 12, free))
        eps.setTolerances(accuracy, 200)
        start = hessian.vector()
        land = hessian.land
        start.setArray(hessian.solve_roughly(hessian.reduce(land.random_gradient(hessian.p, 0))))
        eps.setInitialSpace(start)
        vectors_known = [hessian.vector() for _ in known]
        for vector, values in zip(vectors_known, known, strict=True):
            vector.setArray(values)
        if known:
            eps.setDeflationSpace(vectors_known)
        # SLEPc's own solves with H go through the same solver.
        ksp = eps.getST().getKSP()
        ksp.setType(PETSc.KSP.Type.PREONLY)
        ksp.getPC().setType(PETSc.PC.Type.PYTHON)
        ksp.getPC().setPythonContext(_Mult(self.inverse))
        try:
            eps.solve()
            found = eps.getConverged()
            if found < wanted:
                raise ConvergenceError(
                    f"eigenmodes: {found} of {wanted} eigenvalues converged in "
                    f"{eps.getIterationNumber()} iterations of SLEPc: fewer modes (k), or a larger "
                    "accuracy, may help",
                    reason=int(eps.getConvergedReason()),
                    iterations=int(eps.getIterationNumber()),
                    t=float("nan"),
                )
            numbers, vectors = [], []
            for index in range(found):
                numbers.append(float(np.real(eps.getEigenpair(index, start))))
                x = np.array(start.array_r)
                vectors.append(x / np.sqrt(land.dot(x, self._times(x))))
            return numbers, vectors
        finally:
            for item in (eps, A, start, *vectors_known):
                item.destroy()

    def _forward(self, x: Array) -> Array:
        return -self.hessian.spin(self.inverse(self.hessian.spin(x)))


class _Mult:
    """A function of local arrays as the context of a PETSc matrix and of a preconditioner."""

    def __init__(self, function: Callable[[Array], Array]) -> None:
        self._function = function

    def mult(self, A: Any, x: PETSc.Vec, y: PETSc.Vec) -> None:
        y.setArray(self._function(np.array(x.array_r)))

    def apply(self, pc: Any, x: PETSc.Vec, y: PETSc.Vec) -> None:
        self.mult(pc, x, y)
