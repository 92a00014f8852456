# SPDX-License-Identifier: LGPL-3.0-or-later
"""Time-stepping schemes: pure functions from an Energy and m to UFL blocks."""
