# SPDX-License-Identifier: LGPL-3.0-or-later
"""Multiscale building blocks: averaging kernels, mesh hierarchies, coarse spaces."""
