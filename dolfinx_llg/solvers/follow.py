# SPDX-License-Identifier: LGPL-3.0-or-later
"""How a stepper notices that the functions of its basis were replaced, and what it does then."""

from __future__ import annotations

from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.solvers.coarse_fields import CoarseFields

__all__ = ["Follower"]


class Follower:
    """The part of a stepper that follows its basis.

    Attributes:
        name: Of the scheme.
        fields: Fields with a solve of their own as a run in a basis takes them.
        follows: Whether a march goes on where its basis is updated.
    """

    name: str
    fields: CoarseFields
    follows = False
    _basis: GalerkinBasis | None
    _revision: int

    @property
    def outdated(self) -> bool:
        """Whether the basis was updated and this stepper cannot follow."""
        basis = self._basis
        return basis is not None and not self.follows and basis.revision != self._revision

    def look_at_basis(self) -> None:
        """Follow a basis that was updated since the last look. Collective."""
        basis = self._basis
        if basis is not None and basis.revision != self._revision:
            self._follow(basis)
            self.fields.forget()
            self._revision = basis.revision

    def _follow(self, basis: GalerkinBasis) -> None:
        """Make anew what was made of the functions of a basis that was updated.

        Raises:
            RuntimeError: Where a subclass does not know how.
        """
        raise RuntimeError(
            f"{self.name}: the basis was updated during a march, which this scheme cannot follow: "
            "begin a new march after it, march(step, t=state.t, ...)"
        )
