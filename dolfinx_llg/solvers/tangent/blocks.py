# SPDX-License-Identifier: LGPL-3.0-or-later
r"""The matrix of a tangent-plane step as a kept stiffness and nodal blocks; NumPy only.

Mass, cross product and constraint act at the nodes: node i has the 3 x 3 block
``D_i I + G_i [m_i]_x`` and the row ``beta_i m_i^T`` of the constraint. Only these change from step
to step; the stiffness is assembled once. All matrices are divided by the mean nodal mass, so that a
mesh in metres gives numbers of the same size as one in nanometres.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from dolfinx import fem, la
from scipy.sparse import csr_array

from dolfinx_llg.jit import compile_form
from dolfinx_llg.schemes.tangent_plane import TangentPlaneStep, second_order_damping

__all__ = ["NodalBlocks", "from_frames", "tangent_frames", "to_frames"]

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int32]
CHUNK = 1 << 14  # entries worked on at a time: their arrays stay in the cache


def tangent_frames(m: Array) -> Array:
    """Return t_1, t_2 with (t_1, t_2, m/|m|) right-handed and orthonormal, shape (2, 3, n).

    Duff et al., J. Comput. Graph. Tech. 6 (2017) 1: no branch, no cancellation; the frame jumps
    where m_3 changes sign.

    Args:
        m: Vectors, not zero, shape (n, 3).
    """
    x, y, z = (m / np.linalg.norm(m, axis=1)[:, None]).T
    sign = np.copysign(1.0, z)
    s = -1.0 / (sign + z)
    t = x * y * s
    return np.array([[1.0 + sign * x * x * s, sign * t, -sign * x], [t, sign + y * y * s, -y]])


def to_frames(frames: Array, r: Array) -> Array:
    """Return the coordinates T^T r, shape (n, 2), of vectors of shape (n, 3)."""
    x, y, z = np.ascontiguousarray(r.T)
    return np.column_stack([t[0] * x + t[1] * y + t[2] * z for t in frames])


def from_frames(frames: Array, c: Array) -> Array:
    """Return the vectors T c, shape (n, 3), of coordinates of shape (n, 2)."""
    (t1, t2), (p, q) = frames, np.ascontiguousarray(c.T)
    return np.column_stack([t1[i] * p + t2[i] * q for i in range(3)])


class NodalBlocks:
    """Kept stiffness and nodal data of a step; arrays of the owned nodes unless stated.

    Args:
        step: The step.

    Attributes:
        n: Number of owned nodes.
        scale: Mean nodal mass, by which everything is divided.
        mass: Nodal masses beta = (Ms, phi_i)/scale.
        damping: Nodal averages of a.
        gyro: Nodal masses times the averages of b.
        indptr, columns: Pattern of the stiffness by nodes, columns counted with ghosts.
        rows: Row of each entry.
        scalar: Values k of the stiffness k (x) I, shape (nnz,); None where it is not of that kind.
        values: Values of the stiffness by components, shape (3, 3, nnz).
    """

    def __init__(self, step: TangentPlaneStep) -> None:
        self.step = step
        V = step.m.function_space
        self.comm = V.mesh.comm
        self.n = int(V.dofmap.index_map.size_local)
        self.n_global = int(V.dofmap.index_map.size_global)
        self._nodal = [compile_form(f) for f in (step.mass, step.damped, step.gyro)]
        self._stiffness = None if step.stiffness is None else compile_form(step.stiffness)
        self._source = None if step.source is None else compile_form(step.source)
        self.assemble()

    def assemble(self) -> None:
        """Assemble nodal data and the implicit terms (anew after their data have changed)."""
        masses = [_nodal_vector(form) for form in self._nodal]
        total = sum(self.comm.allgather(float(masses[0].sum())))
        self.scale = total / self.n_global
        self.mass, self.gyro = masses[0] / self.scale, masses[2] / self.scale
        self.damping = masses[1] / masses[0]
        n = self.n
        if self._stiffness is None:
            column_map = self.step.m.function_space.dofmap.index_map
            self.indptr = np.arange(n + 1, dtype=np.int32)
            self.columns = np.arange(n, dtype=np.int32)
            blocks = np.zeros((n, 3, 3))
        else:
            K = fem.assemble_matrix(self._stiffness)
            K.scatter_reverse()
            column_map = K.index_map(1)
            self.indptr = K.indptr[: n + 1].astype(np.int32)
            nnz = int(self.indptr[-1])
            self.columns = K.indices[:nnz].astype(np.int32)
            blocks = K.data.reshape(-1, 3, 3)[:nnz] / self.scale
        self.rows = np.repeat(np.arange(n, dtype=np.int32), np.diff(self.indptr))
        self._shared = la.vector(column_map, bs=3)
        self.columns_global = column_map.local_to_global(self.columns).astype(np.int32)
        self.rows_global = self.rows + int(column_map.local_range[0])
        self.first = int(column_map.local_range[0])
        self.values = np.ascontiguousarray(blocks.transpose(1, 2, 0))
        self.scalar = self._as_scalar(blocks)
        own = np.flatnonzero(self.columns == self.rows)
        assert len(own) == n, "the stiffness has a diagonal entry in every row"
        self.diagonal = own

    def _as_scalar(self, blocks: Array) -> Array | None:
        k = np.ascontiguousarray(blocks[:, 0, 0])
        size = float(np.abs(k).max(initial=0.0))
        defect = float(np.abs(blocks - k[:, None, None] * np.eye(3)).max(initial=0.0))
        sizes, defects = zip(*self.comm.allgather((size, defect)), strict=True)
        return k if max(defects) <= 1e-14 * max(sizes) else None

    # -- fields ------------------------------------------------------------------------------------

    def with_ghosts(self, owned: Array) -> Array:
        """Return a field of 3 components at the owned nodes and at all columns, shape (nc, 3)."""
        array = self._shared.array
        array[: 3 * self.n] = owned.ravel()
        self._shared.scatter_forward()
        return array.reshape(-1, 3)

    def stiffness_times(self, owned: Array) -> Array:
        """Return the product of the stiffness and a field, both of shape (n, 3)."""
        x = self.with_ghosts(owned)
        out = np.zeros((self.n, 3))
        if self._stiffness is None or not self.n:
            return out
        shape = (self.n, len(x))
        if self.scalar is not None:
            return np.asarray(csr_array((self.scalar, self.columns, self.indptr), shape=shape) @ x)
        for i in range(3):
            for j in range(3):
                entries = (self.values[i, j], self.columns, self.indptr)
                out[:, i] += csr_array(entries, shape=shape) @ np.ascontiguousarray(x[:, j])
        return out

    def right_side(self, m: Array) -> Array:
        """Return -d_i(m; w) - d_e(middle; w) at the nodes, divided by the scale, shape (n, 3)."""
        r = -self.stiffness_times(m)
        if self._source is not None:
            vector = fem.assemble_vector(self._source)
            vector.scatter_reverse(la.InsertMode.add)
            r += vector.array[: 3 * self.n].reshape(-1, 3) / self.scale
        return r

    def dissipation(self, m: Array, r: Array, dt: float) -> Array:
        """Return the nodal diagonal D: mass times damping, or times its second-order weight."""
        if not self.step.second_order:
            return self.mass * self.damping
        rate = np.einsum("ij,ij->i", m, r) / self.mass
        return self.mass * second_order_damping(self.damping, rate, dt)

    # -- matrices ----------------------------------------------------------------------------------

    def congruence(self, factor: float, frames: Array, out: Array) -> None:
        """Set ``out[:, p, q] = factor t_p(i)^T K_ij t_q(j)`` for all entries (i, j).

        Args:
            factor: theta dt.
            frames: Frames at all columns, shape (2, 3, nc).
            out: Shape (nnz, 2, 2).
        """
        six = np.ascontiguousarray(frames.reshape(6, -1))
        flat = out.reshape(-1, 4)
        for start in range(0, len(self.rows), CHUNK):
            part = slice(start, min(start + CHUNK, len(self.rows)))
            left = six.take(self.rows[part], axis=1)
            right = six.take(self.columns[part], axis=1)
            left *= factor
            for q in range(2):
                z = self._block_times(part, right[3 * q : 3 * q + 3])
                for p in range(2):
                    product = left[3 * p] * z[0]
                    product += left[3 * p + 1] * z[1]
                    product += left[3 * p + 2] * z[2]
                    flat[part, 2 * p + q] = product

    def _block_times(self, part: slice, right: Array) -> Array | list[Array]:
        """Return K_ij w for the entries of a part, component by component."""
        if self.scalar is not None:
            return self.scalar[part] * right
        K = self.values[:, :, part]
        out = [K[i, 0] * right[0] for i in range(3)]
        for i in range(3):  # in place: temporaries would cost more than the products
            out[i] += K[i, 1] * right[1]
            out[i] += K[i, 2] * right[2]
        return out

    def sandwich(self, factor: float, vectors: Array, out: Array) -> None:
        """Set ``out = factor w_i^T K_ij w_j`` for vectors w at all columns, shape (3, nc)."""
        vectors = np.ascontiguousarray(vectors)
        for start in range(0, len(self.rows), CHUNK):
            part = slice(start, min(start + CHUNK, len(self.rows)))
            left = vectors.take(self.rows[part], axis=1)
            z = self._block_times(part, vectors.take(self.columns[part], axis=1))
            out[part] = factor * (left[0] * z[0] + left[1] * z[1] + left[2] * z[2])

    def largest_rate(self) -> float:
        """Return a bound (row sums) of the largest eigenvalue of D^{-1} K, for all ranks."""
        sums = np.abs(self.values).sum(axis=1).max(axis=0)
        rows = np.bincount(self.rows, weights=sums, minlength=self.n)
        local = float(np.max(rows / (self.mass * self.damping), initial=0.0))
        return max(max(self.comm.allgather(local)), 1e-300)

    def wrong_couplings(self) -> float:
        """Return the share of positive among all couplings of neighbours, by weight. Collective."""
        k = np.delete(self.scalar_stiffness(), self.diagonal)
        local = (float(k[k > 0.0].sum()), float(np.abs(k).sum()))
        wrong, whole = np.sum(self.comm.allgather(local), axis=0)
        return float(wrong / whole) if whole > 0.0 else 0.0

    def scalar_stiffness(self) -> Array:
        """Return the mean k of the three diagonal components of the stiffness, shape (nnz,)."""
        if self.scalar is not None:
            return self.scalar.copy()
        return np.asarray((self.values[0, 0] + self.values[1, 1] + self.values[2, 2]) / 3.0)


def _nodal_vector(form: fem.Form) -> Array:
    """Assemble (f, w_1): the first component at the owned nodes."""
    vector = fem.assemble_vector(form)
    vector.scatter_reverse(la.InsertMode.add)
    return np.array(vector.array[: 3 * form.function_spaces[0].dofmap.index_map.size_local : 3])
