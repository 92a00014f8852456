# SPDX-License-Identifier: LGPL-3.0-or-later
"""Algebra without physics: Galerkin bases, matrices, Krylov solvers, GMRES on arrays."""
