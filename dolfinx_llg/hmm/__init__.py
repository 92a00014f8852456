# SPDX-License-Identifier: LGPL-3.0-or-later
"""Heterogeneous multiscale methods: upscaling in space and in time."""
