# SPDX-License-Identifier: LGPL-3.0-or-later
"""GRPS coarse spaces: hierarchies, functionals, patches, bases and their files."""
