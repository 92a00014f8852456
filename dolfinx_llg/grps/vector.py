# SPDX-License-Identifier: LGPL-3.0-or-later
"""The coarse space of magnetizations made of scalar bases, which follows a changing material."""

from __future__ import annotations

from collections.abc import Sequence

from petsc4py import PETSc

import ufl

from dolfinx_llg.grps.basis import GRPSBasis
from dolfinx_llg.grps.energies import energy_matrix
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.physics.energy import Energy
from dolfinx_llg.physics.exchange import component_forms

__all__ = ["CoarseBasis", "same_matrix", "vector_basis"]


@checked
class CoarseBasis(GalerkinBasis):
    """The coarse space of magnetizations of one scalar basis, or of one for each component.

    Args:
        bases: The scalar bases, three; components with one basis have one object.

    Attributes: see also ``GalerkinBasis``.
        bases: The scalar bases.

    Raises:
        ValueError: If some bases are SLOD's and others are not, whose functionals differ in kind.
    """

    def __init__(self, bases: Sequence[GRPSBasis]) -> None:
        if len({basis.localization == "slod" for basis in bases}) > 1:
            raise ValueError("the components' bases must all be SLOD bases, or none of them")
        found = {id(basis): basis.gram() for basis in bases}
        grams = [gram for basis in bases if (gram := found[id(basis)]) is not None]
        super().__init__([basis.P for basis in bases], bases[0].Psi, gram=grams or None)
        self.bases = tuple(bases)

    def update(self, energy: Energy | ufl.Form | Sequence[ufl.Form]) -> int:
        """Follow a changed material in place: only patches that the change touches are solved.

        The functions are those of a new basis for the energy, to round-off. A run in this basis
        goes on with them at its next step in the schemes that solve a weak form (gao, cimrak, an,
        prohl and those of one's own), which forget the starts of their solvers. Others are told to
        begin a new march. Matrices of field terms in the space are dropped, to be made anew at the
        next step, which costs as much as at first (``llg.grps.coarse_field``). Data of the
        energy may be those that a loop has changed, or others.

        Args:
            energy: Energy of the run, whose forms by component are taken, or these forms
                themselves: one for all components, or three.

        Returns:
            The number of scalar functions that were computed anew.

        Raises:
            ValueError: If the energy lives on another mesh, is not symmetric or positive, or if
                components that share a basis do not see one form any more; the space is then as
                it was.
            RuntimeError: If the bases keep nothing to be updated from (``GRPSBasis.update``), or
                nodes are pinned.

        Note: Collective.
        """
        if self.lift is not None:
            raise RuntimeError(
                "a coarse space with pinned nodes is not updated, its lift belongs to the energy: "
                "make a new one (coarse_basis)"
            )
        V = self.bases[0].measurement.hierarchy.space
        if isinstance(energy, ufl.Form):
            forms = [energy] * 3
        elif isinstance(energy, Energy):
            forms = component_forms(energy, V)
        else:
            forms = list(energy)
        if len(forms) != 3:
            raise ValueError(f"a magnetization has 3 components, got {len(forms)} forms")
        self._check_shared(forms)
        updated: dict[int, GRPSBasis] = {}
        count = 0
        for basis, form in zip(self.bases, forms, strict=True):
            if id(basis) not in updated:
                updated[id(basis)] = basis.update(form)
                count += updated[id(basis)].renewed
        bases = tuple(updated[id(basis)] for basis in self.bases)
        if count:
            self.replace([basis.P for basis in bases])
        self.bases = bases
        return count

    def _check_shared(self, forms: Sequence[ufl.Form]) -> None:
        """Refuse forms that differ between components with one basis."""
        seen: dict[int, tuple[ufl.Form, PETSc.Mat | None]] = {}
        for k, (basis, form) in enumerate(zip(self.bases, forms, strict=True)):
            known, matrix = seen.setdefault(id(basis), (form, None))
            if known is form:
                continue
            if matrix is None:
                matrix = energy_matrix(known, basis.measurement)
                seen[id(basis)] = (known, matrix)
            other = energy_matrix(form, basis.measurement)
            same = same_matrix(matrix, other)
            other.destroy()
            if not same:
                raise ValueError(
                    f"component {k} of m sees another form than the components whose basis it "
                    "shares (a new anisotropy?): make a new basis (coarse_basis)"
                )
        for _, matrix in seen.values():
            if matrix is not None:
                matrix.destroy()


@checked
def vector_basis(bases: GRPSBasis | Sequence[GRPSBasis]) -> CoarseBasis:
    """Return the basis of magnetizations for ``march``: one scalar basis, or one per component.

    (V1) for m_1 and (V2) for m_2, m_3 with easy axis x is ``[b1, b2, b2]``; another coordinate axis
    is another order. For an oblique axis take (V2) for all three: the spaces differ by O(H^2).
    ``coarse_basis`` makes all of it from the energy of a run.

    Args:
        bases: One basis for all components, or three.

    Raises:
        ValueError: If there are several that do not share one ``Measurement`` (those of
            ``lod_basis``: one hierarchy).
    """
    if isinstance(bases, GRPSBasis):
        return CoarseBasis([bases] * 3)
    if len(bases) != 3:
        raise ValueError(f"a magnetization has 3 components, got {len(bases)} bases")
    if not all(_same_functionals(basis, bases[0]) for basis in bases):
        raise ValueError("the components' bases must share one Measurement")
    return CoarseBasis(bases)


def _same_functionals(one: GRPSBasis, other: GRPSBasis) -> bool:
    """Whether two bases share their functionals, of which each LOD basis makes its own."""
    if one.localization != "lod" or other.localization != "lod":
        return one.measurement is other.measurement
    # The quasi-interpolation of a mesh, whatever the energy.
    return one.measurement.hierarchy is other.measurement.hierarchy


def same_matrix(A: PETSc.Mat, B: PETSc.Mat) -> bool:
    """Whether two matrices of forms are those of one form: forms written apart differ in UFL."""
    difference = A.copy()
    difference.axpy(-1.0, B, PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN)
    found = difference.norm() <= 1e-12 * A.norm()
    difference.destroy()
    return bool(found)
