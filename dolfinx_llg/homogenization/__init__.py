# SPDX-License-Identifier: LGPL-3.0-or-later
"""Periodic cell problems of the exchange coefficient, and correctors."""
