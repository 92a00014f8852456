# SPDX-License-Identifier: LGPL-3.0-or-later
"""Solvers of the tangent-plane scheme: kept stiffness, nodal blocks, their preconditioners."""
