# SPDX-License-Identifier: Apache-2.0
"""`pycontain profile`."""

from __future__ import annotations

import argparse
from typing import Any

from pycontain import profile as profiles
from pycontain.config import NO_BOUND
from pycontain.profile import Profile

from ._common import print_json


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's actions."""
    profile = commands.add_parser("profile", help="show the security profiles")
    actions = profile.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="their names")
    show = actions.add_parser("show", help="what one of them grants")
    known = ", ".join(profiles.names())
    show.add_argument("name", metavar="NAME", choices=profiles.names(), help=known)
    for entry in (listing, show):
        entry.add_argument("--json", action="store_true", help="for programs")
    listing.set_defaults(call=_list_profiles)
    show.set_defaults(call=_show_profile)


def _list_profiles(args: argparse.Namespace) -> int:
    names = profiles.names()
    if args.json:
        print_json(list(names))
    else:
        print(*names, sep="\n")
    return 0


def _describe(profile: Profile) -> dict[str, Any]:
    return {
        "name": profile.name,
        "user": profile.user,
        "umask": f"{profile.umask:03o}",
        "memory": profile.memory or NO_BOUND,
        "pids": profile.pids or NO_BOUND,
        "capabilities": list(profile.capabilities),
        "no_new_privileges": profile.no_new_privileges,
        "nested": profile.nested,
        "rlimits": {name: list(pair) for name, pair in profile.rlimits.items()},
        "masked_paths": list(profile.masked_paths),
        "readonly_paths": list(profile.readonly_paths),
        "proc_subset": profile.proc_subset,
        "alone": profile.alone,
        "seccomp": {
            "default": str(profile.seccomp.default),
            "rules": [
                {
                    "action": str(rule.action),
                    "calls": list(rule.names),
                    "when": [str(arg) for arg in rule.args],
                }
                for rule in profile.seccomp.rules
            ],
        },
    }


def _show_profile(args: argparse.Namespace) -> int:
    facts = _describe(profiles.get(args.name))
    if args.json:
        print_json(facts)
        return 0
    seccomp = facts.pop("seccomp")
    for name, value in facts.items():
        print(f"{name:18} {_words(value)}")
    print(f"seccomp            the first rule that applies; else {seccomp['default']}")
    for rule in seccomp["rules"]:
        when = f" if {' and '.join(rule['when'])}" if rule["when"] else ""
        calls = rule["calls"]
        shown = " ".join(calls[:6]) + (f" and {len(calls) - 6} more" if len(calls) > 6 else "")
        print(f"  {rule['action']:16} {shown}{when}")
    return 0


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {soft}:{hard}" for name, (soft, hard) in value.items()) or "none"
    if isinstance(value, list):
        return " ".join(value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
