# SPDX-License-Identifier: LGPL-3.0-or-later
"""Coarse steps that never touch the fine mesh: empirical cubature, and the tensors of the paper."""
