# SPDX-License-Identifier: LGPL-3.0-or-later
"""Energy terms, material coefficients and units: UFL only, no PETSc and no MPI."""
