# SPDX-License-Identifier: LGPL-3.0-or-later
"""Electric current and spin accumulation: conductors, and the magnet as a part of a mesh."""
