"""What a kubelet asks of org.freedesktop.login1, and no more; run by Debian's Python, which has the D-Bus bindings.

    login1_program.py FILE      # answers on $DBUS_SYSTEM_BUS_ADDRESS; FILE gets a line for each delay lock given out

A delay lock is the write end of a pipe: the holder closes it when it is ready for the shutdown.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import dbus
import dbus.mainloop.glib
import dbus.service
from gi.repository import GLib

NAME = "org.freedesktop.login1"
MOST_DELAY_SECONDS = 600  # no less than shutdownGracePeriod, else the kubelet goes and edits logind's configuration


class Manager(dbus.service.Object):  # type: ignore[misc]
    """/org/freedesktop/login1"""

    def __init__(self, bus: dbus.Bus, record: Path) -> None:
        super().__init__(bus, "/org/freedesktop/login1")
        self._record = record
        self._locks: list[int] = []
        record.touch()

    @dbus.service.method(dbus.PROPERTIES_IFACE, in_signature="ss", out_signature="v")  # type: ignore[untyped-decorator]
    def Get(self, interface: str, name: str) -> dbus.UInt64:  # noqa: N802
        if name != "InhibitDelayMaxUSec":
            raise dbus.exceptions.DBusException(f"{interface} has no {name} here")
        return dbus.UInt64(MOST_DELAY_SECONDS * 1_000_000)

    @dbus.service.method(f"{NAME}.Manager", in_signature="ssss", out_signature="h")  # type: ignore[untyped-decorator]
    def Inhibit(self, what: str, who: str, why: str, mode: str) -> dbus.types.UnixFd:  # noqa: N802
        ours, theirs = os.pipe()
        self._locks.append(ours)
        with self._record.open("a", encoding="utf-8") as lines:
            lines.write(f"{who}: {mode} {what} ({why})\n")
        lock = dbus.types.UnixFd(theirs)  # a duplicate; the message carries it
        os.close(theirs)
        return lock


if __name__ == "__main__":
    dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
    bus = dbus.SystemBus()
    name = dbus.service.BusName(NAME, bus)
    manager = Manager(bus, Path(sys.argv[1]))
    GLib.MainLoop().run()
