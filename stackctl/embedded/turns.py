"""Short turns on a core: what is soon done need not wait until others have had their long ones.

Where two cores are busy, each step of an answer (the request arrives, a thread takes it, the loop sends what it found)
waits for a core. Linux 6.12 and later prefer, among those who had the same, whoever asks for shorter turns, and give
nobody more than their share (sched_setattr(2), `sched_runtime` of an ordinary thread; Stoica and Abdel-Wahab, Earliest
Eligible Virtual Deadline First, 1996).
"""

import ctypes
import os
import platform
import struct
import sys
from typing import Final

TURN_NS: Final = 200_000
# The C library has no function for these before glibc 2.41. Numbers: arch/*/entry/syscalls of the kernel.
_SET: Final = {"x86_64": 314, "aarch64": 274}
# struct sched_attr of sched/types.h: size, policy, flags, nice, priority, runtime, deadline, period, and two clamps.
_ATTRIBUTES: Final = struct.Struct("=IIQiIQQQII")


def take_short_turns(turn_ns: int = TURN_NS) -> bool:
    """Ask for short turns for this thread and all that it starts; its policy and niceness stay.

    Args:
        turn_ns: how long one lasts, nanoseconds; Linux takes 100,000 to 100,000,000.

    Returns:
        Whether the system knows how to ask. Older kernels take it, and do as before.
    """
    number = _SET.get(platform.machine())
    if sys.platform != "linux" or number is None:
        return False
    policy, nice = os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)
    packed = _ATTRIBUTES.pack(_ATTRIBUTES.size, policy, 0, nice, 0, turn_ns, 0, 0, 0, 0)
    return bool(ctypes.CDLL(None).syscall(number, 0, packed, 0) == 0)
