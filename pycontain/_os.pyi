# SPDX-License-Identifier: Apache-2.0
# To type checkers it is the real one.
from os import *
from os import PathLike as PathLike
from os import _exit as _exit
from os import path as path
