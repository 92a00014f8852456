# SPDX-License-Identifier: LGPL-3.0-or-later
"""HMM in time: precession in a fast field, its windows, spins, chains and magnets."""
