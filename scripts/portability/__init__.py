# SPDX-License-Identifier: Apache-2.0
"""The proof of portability: the same images on several kernels, as root and as an ordinary user."""
