# SPDX-License-Identifier: LGPL-3.0-or-later
"""HMM in space: micro boxes, their adjoint, macro grids and finite elements."""
