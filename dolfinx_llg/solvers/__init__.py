# SPDX-License-Identifier: LGPL-3.0-or-later
"""What carries out the steps of the schemes: operators, preconditioners, steppers."""
