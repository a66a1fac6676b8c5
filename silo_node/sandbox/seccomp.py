"""A small seccomp filter for jails, as classic BPF written out by hand so that no library is needed.

It refuses sockets of every family but ``AF_UNIX`` (whose names the jail's own network namespace hides anyway), new
namespaces, tracing and the kernel interfaces that imaging never needs. The namespaces already keep the jail apart; the
filter is a second wall where one of them has a hole.
Source: Linux ``Documentation/userspace-api/seccomp_filter.rst``.
"""

import errno
import platform
import struct
from dataclasses import dataclass

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCHITECTURE, _ARGUMENT_0 = 0, 4, 16
_AF_UNIX = 1
_CLONE_NEW = 0x7E020000
"""Every CLONE_NEW* flag: a jail makes no namespaces of its own."""


@dataclass(frozen=True)
class _Machine:
    audit: int
    socket: int
    clone: int
    clone3: int
    refused: dict[str, int]


_X86_64 = _Machine(
    audit=0xC000003E,
    socket=41,
    clone=56,
    clone3=435,
    refused={
        "ptrace": 101,
        "syslog": 103,
        "personality": 135,
        "pivot_root": 155,
        "chroot": 161,
        "acct": 163,
        "mount": 165,
        "umount2": 166,
        "swapon": 167,
        "reboot": 169,
        "init_module": 175,
        "delete_module": 176,
        "quotactl": 179,
        "kexec_load": 246,
        "add_key": 248,
        "request_key": 249,
        "keyctl": 250,
        "unshare": 272,
        "perf_event_open": 298,
        "open_by_handle_at": 304,
        "setns": 308,
        "process_vm_readv": 310,
        "process_vm_writev": 311,
        "finit_module": 313,
        "kexec_file_load": 320,
        "bpf": 321,
        "userfaultfd": 323,
        "io_uring_setup": 425,
        "io_uring_enter": 426,
        "io_uring_register": 427,
        "open_tree": 428,
        "move_mount": 429,
        "fsopen": 430,
        "fsmount": 432,
        "pidfd_getfd": 438,
        "mount_setattr": 442,
    },
)
_AARCH64 = _Machine(
    audit=0xC00000B7,
    socket=198,
    clone=220,
    clone3=435,
    refused={
        "umount2": 39,
        "mount": 40,
        "pivot_root": 41,
        "chroot": 51,
        "quotactl": 60,
        "acct": 89,
        "personality": 92,
        "unshare": 97,
        "kexec_load": 104,
        "init_module": 105,
        "delete_module": 106,
        "syslog": 116,
        "ptrace": 117,
        "reboot": 142,
        "add_key": 217,
        "request_key": 218,
        "keyctl": 219,
        "swapon": 224,
        "perf_event_open": 241,
        "open_by_handle_at": 265,
        "setns": 268,
        "process_vm_readv": 270,
        "process_vm_writev": 271,
        "finit_module": 273,
        "bpf": 280,
        "userfaultfd": 282,
        "kexec_file_load": 294,
        "io_uring_setup": 425,
        "io_uring_enter": 426,
        "io_uring_register": 427,
        "open_tree": 428,
        "move_mount": 429,
        "fsopen": 430,
        "fsmount": 432,
        "pidfd_getfd": 438,
        "mount_setattr": 442,
    },
)
_MACHINES = {"x86_64": _X86_64, "aarch64": _AARCH64}


def filter_program(machine: str = "") -> bytes | None:
    """Return the filter as the kernel's ``sock_filter`` array, or ``None`` for a machine it is not written for."""
    known = _MACHINES.get(machine or platform.machine())
    if known is None:
        return None
    refuse, absent = _ERRNO | errno.EPERM, _ERRNO | errno.ENOSYS
    program = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_EQUAL, known.audit, 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER),
    ]
    if known is _X86_64:
        # The x32 system calls share the architecture's number and would go round every rule below.
        program += [_step(_AT_LEAST, 0x40000000, 0, 1), _step(_RETURN, absent)]
    for number in known.refused.values():
        program += [_step(_EQUAL, number, 0, 1), _step(_RETURN, refuse)]
    # clone3 passes its flags by pointer, which a filter cannot read; without it the C library falls back to clone.
    program += [_step(_EQUAL, known.clone3, 0, 1), _step(_RETURN, absent)]
    program += [
        _step(_EQUAL, known.socket, 0, 3),
        _step(_LOAD, _ARGUMENT_0),
        _step(_EQUAL, _AF_UNIX, 4, 0),
        _step(_RETURN, refuse),
        _step(_EQUAL, known.clone, 0, 2),
        _step(_LOAD, _ARGUMENT_0),
        _step(_ANY_BIT, _CLONE_NEW, 1, 0),
        _step(_RETURN, _ALLOW),
        _step(_RETURN, refuse),
    ]
    return b"".join(program)


def container_profile(machine: str = "") -> dict[str, object] | None:
    """Return the same rules as a container engine reads them (the OCI runtime specification), or ``None``."""
    known = _MACHINES.get(machine or platform.machine())
    if known is None:
        return None
    families = {"index": 0, "value": _AF_UNIX, "op": "SCMP_CMP_NE"}
    spaces = [
        {"index": 0, "value": 1 << bit, "valueTwo": 1 << bit, "op": "SCMP_CMP_MASKED_EQ"}
        for bit in range(32)
        if _CLONE_NEW >> bit & 1
    ]
    refused = {"action": "SCMP_ACT_ERRNO", "errnoRet": errno.EPERM}
    return {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {"names": sorted(known.refused), **refused},
            {"names": ["socket"], "args": [families], **refused},
            *({"names": ["clone"], "args": [space], **refused} for space in spaces),
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS},
        ],
    }


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
