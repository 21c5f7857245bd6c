# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module promises about check mode, differences and platforms."""

from __future__ import annotations


class ModuleDocFragment:
    # A module that changes something and tells the truth about it beforehand.
    CHANGES = r"""
options: {}
attributes:
  check_mode:
    support: full
    description: Can run in check mode and tells what it would change, changing nothing.
  diff_mode:
    support: full
    description: Shows the difference between what is and what is asked for.
  platform:
    support: full
    description: Operating systems on which it works.
    platforms: posix
"""
    # A module that only reads.
    READS = r"""
options: {}
attributes:
  check_mode:
    support: full
    description: Reads only, so it does the same in check mode.
  diff_mode:
    support: none
    description: Reads only, so there is no difference to show.
  platform:
    support: full
    description: Operating systems on which it works.
    platforms: posix
"""
