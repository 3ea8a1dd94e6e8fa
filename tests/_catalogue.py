# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 - a table
"""Every attack that the suite knows, and where it is tried: docs/security-report.md is made of it.

A place is the beginning of a test's id below tests/. What the selftest's catalogue has is tried by
`adversarial/test_catalogue.py` as well, in every profile, as root and not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).parent
CLASSES = re.compile(r"^(?:\w+::)+")
SELFTEST = (
    "adversarial/test_catalogue.py::test_nothing_of_the_catalogue_works_inside[",
    "adversarial/test_catalogue.py::test_some_of_each_kind_works_outside[",
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One attack, or a group of like ones.

    Attributes:
        id: A letter for the group and a number.
        p0: Whether a release may not be without it.
        what: It, for a reader.
        places: Beginnings of the ids of the tests that try it.
        reason: Why nothing does, or does more.
    """

    id: str
    p0: bool
    what: str
    places: tuple[str, ...] = ()
    reason: str = ""

    def covers(self, nodeid: str) -> bool:
        """Tell whether a test, by pytest's id, tries it."""
        file, _, test = nodeid.removeprefix("tests/").partition("::")
        name = f"{file}::{re.sub(CLASSES, '', test)}"
        parameters = name.rpartition("[")[2].rstrip("]").split("-")
        return name.startswith(self.places) or (
            name.startswith(SELFTEST) and parameters[-1] == self.id
        )


GROUPS = {
    "A": "set-up against a hostile root or volume", "B": "descriptors, programs, directories", "C": "identity",
    "D": "system calls", "E": "/proc, /sys, /dev, control groups", "F": "terminal, output, logs",
    "G": "IPC, network, other sandboxes", "H": "exhaustion", "I": "lifetime", "J": "copying in and out",
    "K": "images", "L": "configuration", "M": "faults and the library itself",
}  # fmt: skip

_ROOTS, _DESCRIPTORS, _CALLS = (
    "adversarial/test_a_roots.py::test_",
    "adversarial/test_b_descriptors.py::test_",
    "adversarial/test_d_calls.py::test_",
)
_PROC, _TERMINAL, _OTHERS = (
    "adversarial/test_e_proc.py::test_",
    "adversarial/test_f_terminal.py::test_",
    "adversarial/test_g_neighbours.py::test_",
)
_LIFE, _COPIES, _CONFIG = (
    "adversarial/test_i_lifetime.py::test_",
    "adversarial/test_j_files.py::test_",
    "adversarial/test_l_configuration.py::test_",
)
_SETUP, _FILES, _BAD = (
    "sandbox/test_setup_failures.py::test_",
    "sandbox/test_files.py::test_",
    "sandbox/test_bad_input.py::test_",
)
_PID1, _OUTPUT, _LIVES = (
    "sandbox/test_pid1.py::test_",
    "sandbox/test_output.py::test_",
    "sandbox/test_lifetime.py::test_",
)
_ISOLATION, _LIVE = "sandbox/test_isolation.py::test_", "unit/test_seccomp_live.py::test_"

ENTRIES: tuple[Entry, ...] = (
    Entry("A1", True, "/proc, /sys, /dev, /tmp of the root are links or files", (_ROOTS + "a1_", _SETUP + "nothing_of_a_hostile_root")),
    Entry("A2", True, "mount points below links in a volume", (_ROOTS + "a2_", _SETUP + "a_link_on_the_way", _SETUP + "no_mount_point_is_made")),
    Entry("A3", True, "names that are swapped during starts", (_ROOTS + "a3_",)),
    Entry("A4", True, "planted /dev/null under the masks", (_ROOTS + "a4_",)),
    Entry("A5", False, "planted terminals", (_ROOTS + "a5_",)),
    Entry("A6", True, "a false /proc receives what is meant for the real one", (_ROOTS + "a6_",)),
    Entry("A7", True, "masked paths shown again"),
    Entry("A8", True, "leaving the root: umount, pivot_root, chroot, ..", (_ROOTS + "a8_",)),
    Entry("A9", False, "a read-only mount made writable", (_ISOLATION + "a_read_only_bind_is_so_in_all",)),
    Entry("A10", True, "mounts that spread to the host, or from it", (_ISOLATION + "no_mount_of_ours", _ISOLATION + "a_later_mount_of_the_host")),
    Entry("A11", False, "set-id programs, devices, file capabilities", (_ROOTS + "a11_", _ISOLATION + "set_id_bits_and_devices")),
    Entry("A12", False, "marks of overlayfs in a layer", (_ROOTS + "a12_",)),
    Entry("A13", False, "home, shell and host name of the root's files", (_ROOTS + "a13_", "adversarial/test_c_identity.py::test_c5_", _BAD + "an_option_that_cannot_be_right")),
    Entry("A14", False, "hundreds of volumes", (_ROOTS + "a14_",)),
    Entry("B1", True, "the caller's interpreter in /proc, at any instant", (_DESCRIPTORS + "b1_",)),
    Entry("B2", True, "a descriptor as working directory", (_BAD + "no_descriptor_of_proc_is", _BAD + "a_link_planted_as_working_directory")),
    Entry("B3", True, "magic links as program or interpreter", (_DESCRIPTORS + "b3_",)),
    Entry("B4", True, "inheritable descriptors of the caller", ("sandbox/test_descriptors.py::test_",)),
    Entry("B5", False, "streams that are opened again", (_DESCRIPTORS + "b5_", "sandbox/test_landlock.py::test_a_file_handed_in")),
    Entry("B6", True, "descriptors that come over a socket", (_DESCRIPTORS + "b6_",)),
    Entry("B7", False, "interpreters by the host's paths", (_DESCRIPTORS + "b7_",)),
    Entry("B8", True, "what cannot be executed", (_BAD + "a_program_that_cannot_be_executed", _BAD + "a_one_shot_tells")),
    Entry("C1", True, "ids and groups of the host"),
    Entry("C2", True, "capabilities, also of set-id programs"),
    Entry("C3", True, "setgroups and ids without a map"),
    Entry("C4", True, "user names that mean another user", ("adversarial/test_c_identity.py::test_c4_", "unit/test_config.py::test_what_is_no_user")),
    Entry("C5", False, "a hostile /etc/passwd", ("adversarial/test_c_identity.py::test_c5_",)),
    Entry("C6", False, "maps of ids that are not as asked for"),
    Entry("C7", True, "new namespaces, by every call"),
    Entry("C8", True, "later commands less confined than the first", ("adversarial/test_c_identity.py::test_c8_",)),
    Entry("C9", True, "PID 1's memory, files and descriptors"),
    Entry("C10", False, "no_new_privs taken back; set-id programs", (_ROOTS + "a11_",)),
    Entry("D1", True, "every system call number", (_CALLS + "d1_", "unit/test_seccomp.py::test_every_number", _LIVE + "every_number")),
    Entry("D2", True, "dangerous calls: mounts, modules, bpf, clocks"),
    Entry("D3", True, "high bits of filtered arguments", (_LIVE + "high_bits", "unit/test_seccomp.py::test_every_corner")),
    Entry("D4", True, "socket families and netlink", ("unit/test_profile.py::test_socket_families", "unit/test_profile.py::test_netlink")),
    Entry("D5", True, "i386 and x32", (_LIVE + "i386_calls_are_not", _LIVE + "x32_calls")),
    Entry("D6", True, "io_uring, userfaultfd"),
    Entry("D7", False, "clone3 is missing, threads work", (_LIVE + "threads_and_processes_without_clone3",)),
    Entry("D8", True, "a weaker or another filter", (_LIVE + "a_later_filter",)),
    Entry("D9", False, "profiles of others", ("unit/test_seccomp_oci.py::test_",)),
    Entry("D10", False, "a listener of the program's own", (_CALLS + "d10_",)),
    Entry("D11", True, "real programs under the filter", ("programs/",)),
    Entry("D12", False, "a kill by the filter in a thread", (_CALLS + "d12_", _LIVE + "a_kill_in_a_thread")),
    Entry("E1", True, "writing to /proc/sys and the like", (_PROC + "e1_",)),
    Entry("E2", True, "what /proc and /sys tell of the host"),
    Entry("E3", True, "processes of the host in /proc", (_ISOLATION + "only_its_own_processes",)),
    Entry("E4", False, "devices"),
    Entry("E5", True, "handlers that the kernel starts"),
    Entry("E6", True, "control groups"),
    Entry("E7", False, "a crash that starts the host's handler", (_PROC + "e7_",)),
    Entry("E8", False, "/dev/shm, /dev/pts of the host", (_PROC + "e8_",)),
    Entry("E9", False, "limits, priorities and the OOM score", (_PROC + "e9_",)),
    Entry("E10", False, "clocks"),
    Entry("F1", True, "typing into the caller's terminal", (_TERMINAL + "f1_",)),
    Entry("F2", True, "/dev/tty", (_TERMINAL + "f2_",)),
    Entry("F3", False, "floods and hang-ups of a terminal", (_TERMINAL + "f3_", "sandbox/test_popen.py::test_much_output_of_a_pty")),
    Entry("F4", True, "escape sequences in what is shown", (_TERMINAL + "f4_", _OUTPUT + "results_and_errors_escape")),
    Entry("F5", True, "output that is no text", (_TERMINAL + "f5_",)),
    Entry("F6", False, "output that imitates reports", (_PID1 + "output_that_imitates",)),
    Entry("G1", True, "keyrings"),
    Entry("G2", True, "names of SysV and POSIX IPC", (_OTHERS + "g2_",)),
    Entry("G3", True, "abstract sockets of the host", (_OTHERS + "g3_",)),
    Entry("G4", False, "locks on shared files", (_OTHERS + "g4_",)),
    Entry("G5", True, "VSOCK, AF_ALG, AF_PACKET, raw sockets"),
    Entry("G6", True, "the host's services and other machines", (_OTHERS + "g6_", _ISOLATION + "the_default_network")),
    Entry("G7", False, "the host's network, where it is granted", (_OTHERS + "g7_",), "a network between none and the host's is not there yet"),
    Entry("G8", False, "signals to processes of the host", (_OTHERS + "g8_",)),
    Entry("G9", False, "what the kernel counts by user", (_OTHERS + "g9_",)),
    Entry("G10", False, "files that another sandbox left", (_OTHERS + "g2_g10_",)),
    Entry("H1", True, "bombs of processes and threads", ("limits/test_verdicts.py::test_the_verdict", "limits/test_kill.py::test_thousands")),
    Entry("H2", True, "memory of every kind", ("limits/test_memory.py::test_memory_of_any_kind", "limits/test_memory.py::test_a_gibibyte")),
    Entry("H3", False, "pipes, sockets, queues", ("limits/test_memory.py::test_memory_of_any_kind", _OTHERS + "g9_")),
    Entry("H4", True, "a full disk, too many files", ("limits/test_disk.py::test_",)),
    Entry("H5", True, "floods of output", (_OUTPUT + "a_flood_costs", _OUTPUT + "one_byte_at_a_time")),
    Entry("H6", True, "processor time", ("limits/test_verdicts.py::test_the_limit_of_processor_time", "limits/test_wall.py::test_", "limits/test_usage.py::test_processor_time_is")),
    Entry("H7", True, "programs that sleep, stop or ignore signals", ("limits/test_kill.py::test_a_timeout_leaves", _PID1 + "after_a_timeout")),
    Entry("H8", False, "large, sparse, deep and wide trees", ("limits/test_disk.py::test_", _COPIES + "j10_")),
    Entry("H9", False, "arguments that are too long", (_BAD + "more_arguments_than",)),
    Entry("H10", False, "many hostile sandboxes at once", ("limits/test_endurance.py::test_", _LIVES + "sixty_four_threads")),
    Entry("H11", False, "processes that cannot be killed yet", (_LIFE + "h11_",)),
    Entry("H12", False, "storms of throttling", reason="`memory.high` is never set: there is only the hard limit"),
    Entry("I1", True, "SIGKILL of the caller at any call", ("faults/test_kills.py::test_nothing_survives", _LIVES + "nothing_survives")),
    Entry("I2", True, "SIGKILL of PID 1", (_PID1 + "when_pid_1_is_killed", _PID1 + "a_run_whose_pid_1", _LIFE + "i2_", "faults/test_kills.py::test_the_death_of_a_process_inside")),
    Entry("I3", True, "signals to PID 1, and its priority", (_LIFE + "i3_",)),
    Entry("I4", True, "daemons that hold the output", (_PID1 + "a_daemon_that", _PID1 + "a_one_shot_ends_with_its_daemons")),
    Entry("I5", True, "the end of the thread that made a sandbox", (_LIVES + "a_sandbox_outlives_the_thread",)),
    Entry("I6", True, "mounts, devices, namespaces of the host", (_LIFE + "i6_", "limits/test_endurance.py::test_")),
    Entry("I7", False, "groups that are slow to go", ("cgroup/test_tree.py::test_a_group_is_removed_only", "cgroup/test_tree.py::test_groups_made_inside")),
    Entry("I8", False, "kills at any time, twice, from two threads", (_LIVES + "killing_a_command", "limits/test_kill.py::test_a_kill")),
    Entry("I9", True, "cleaning up what is not ours", (_LIFE + "i9_",)),
    Entry("I10", False, "the caller's own state", ("sandbox/test_host_unchanged.py::test_",)),
    Entry("I11", False, "a volume on a hung file server", (_LIFE + "i11_",)),
    Entry("I12", False, "exits, exceptions, interrupts", (_LIVES + "the_end_of_the_interpreter", _LIVES + "an_exception", _LIVES + "a_sandbox_that_nobody_holds")),
    Entry("I13", False, "forks of the caller", (_LIVES + "the_exit_of_a_forked_child", _LIVES + "a_forked_child")),
    Entry("I14", True, "recycled process ids", (_LIFE + "i14_",)),
    Entry("J1", True, "links where output is expected", (_FILES + "a_planted_link", _FILES + "a_link_that_is_followed", _COPIES + "j1_")),
    Entry("J2", True, "links where input is written", (_FILES + "a_planted_link", _FILES + "removing_a_link")),
    Entry("J3", True, "names that are swapped during copies", (_FILES + "names_that_are_swapped",)),
    Entry("J4", False, "FIFOs, sockets, devices as files", (_FILES + "what_is_no_file_is_refused", _FILES + "a_tree_with_something_else")),
    Entry("J5", False, "files that grow", (_FILES + "a_file_that_grows", _FILES + "more_than_the_limit")),
    Entry("J6", False, "hard links to what is read-only", (_COPIES + "j6_",)),
    Entry("J7", True, "names of any bytes", (_FILES + "names_of_any_bytes", _FILES + "hostile_names")),
    Entry("J8", True, "set-id bits and owners that come out", (_FILES + "only_permission_bits",)),
    Entry("J9", False, "members of a tar stream", reason="there are no tar streams: trees are copied file by file, by descriptor"),
    Entry("J10", True, "the removal of hostile trees", (_COPIES + "j10_", _FILES + "a_deep_tree")),
    Entry("J11", True, "planted libraries, modules and decompressors", (_COPIES + "j11_",)),
    Entry("J12", False, "new programs and hooks in a volume", reason="no list of them is offered: a list of dangerous names is never complete; docs/security.md warns"),
    Entry("K1", True, "members of layers that lead outside", ("image/layers/test_rules.py::test_",)),
    Entry("K2", True, "chains and circles of links", ("image/layers/test_rules.py::test_a_chain_of_links", "image/layers/test_rules.py::test_a_circle_of_links")),
    Entry("K3", True, "wrong digests and sizes", ("image/test_digest.py::test_", "image/test_store.py::test_wrong_content", "image/registry/test_blobs.py::test_bad_content")),
    Entry("K4", True, "bombs", ("image/test_decompress.py::test_a_bomb", "image/test_archive_read.py::test_a_bomb", "image/test_archive_read.py::test_too_many_members")),
    Entry("K5", False, "whiteouts", ("image/layers/test_rules.py::test_never_through", "image/layers/test_rules.py::test_whiteout")),
    Entry("K6", False, "devices, set-id bits, attributes", ("image/layers/test_rules.py::test_",)),
    Entry("K7", False, "manifests and indexes", ("image/test_manifest.py::test_", "image/test_platform.py::test_")),
    Entry("K8", False, "pulls at once, and killed", ("image/test_store_kill.py::test_", "image/test_store.py::test_two_writers")),
    Entry("K9", False, "hostile configurations", ("image/test_config.py::test_", "image/test_user.py::test_")),
    Entry("K10", False, "redirects, credentials, slow registries", ("image/registry/test_transport.py::test_", "image/registry/test_tls.py::test_", "image/registry/test_auth.py::test_credentials", "image/registry/test_blobs.py::test_a_server_that")),
    Entry("K11", False, "environments of images in the caller", (_COPIES + "j11_",), "an environment goes to commands inside alone"),
    Entry("K12", False, "layers that are written to", reason="layers are lower directories of overlayfs, which it never writes to"),
    Entry("L1", True, "options that cannot be right", (_BAD, "limits/test_bad_input.py::test_", _ISOLATION + "names_that_mount_options_would_split")),
    Entry("L2", True, "layers that cannot be had", (_CONFIG + "l2_", "faults/test_missing_calls.py::test_")),
    Entry("L3", False, "values with separators in them", (_CONFIG + "l3_",), "sysctls and annotations cannot be given"),
    Entry("L4", False, "names of sandboxes", (_CONFIG + "l3_l4_",), "nobody gives them: they are made of numbers"),
    Entry("L5", False, "state directories of others", ("cgroup/test_state.py::test_", "cli/test_gc.py::test_a_state_directory", "sandbox/test_living_limits.py::test_a_place_behind")),
    Entry("L6", False, "`enforcement` says what is not so", ("sandbox/test_enforcement.py::test_",)),
    Entry("M1", True, "each call of the core fails", ("faults/test_errors.py::test_an_error", "faults/test_python_calls.py::test_")),
    Entry("M2", True, "death at each call", ("faults/test_kills.py::test_nothing_survives", "faults/test_kills.py::test_the_death")),
    Entry("M3", False, "an error while another is cleaned up", ("faults/test_kills.py::test_a_second_error",)),
    Entry("M4", True, "kernels without the newer calls", ("faults/test_missing_calls.py::test_", "core/test_old_kernels.py::test_")),
    Entry("M5", False, "a caller at its limits", ("faults/test_squeezes.py::test_", _LIVES + "a_descriptor_limit")),
    Entry("M6", False, "KeyboardInterrupt at any instant", ("sandbox/test_host_unchanged.py::test_a_keyboard_interrupt",)),
    Entry("M7", True, "threads, event loops and forks at once", (_LIVES + "sixty_four_threads", _LIVES + "threads_share", _LIVES + "closing_while_others", _LIVES + "multiprocessing", "sandbox/test_async.py::test_", "limits/test_endurance.py::test_")),
    Entry("M8", False, "memory errors in the core; hostile messages", ("core/test_plan.py::test_", "unit/test_native.py::test_"), "sanitizers: `make test-asan`; fuzzing: `make fuzz`"),
)  # fmt: skip
