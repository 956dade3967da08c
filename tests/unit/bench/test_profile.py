"""What a sample of the processor's work is taken for."""

from __future__ import annotations

import pytest

from tests.bench.profile import kinds_in, table

KERNEL = "([kernel.kallsyms])"


@pytest.mark.parametrize(
    ("sample", "kind"),
    [
        ("7f _blake3_hash_many_avx2 (/x/blake3/blake3.cpython-311-x86_64-linux-gnu.so)", "hashing (BLAKE3)"),
        ("7f crc_fast::arch::update (/x/obstore/_obstore.abi3.so)", "checksums and signatures"),
        ("7f [unknown] (/usr/lib/x86_64-linux-gnu/libcrypto.so.3)", "TLS"),
        (f"ff _copy_to_iter {KERNEL}", "copies from and to sockets"),
        (f"ff rep_movs_alternative {KERNEL}", "copies from and to sockets"),
        (f"ff copy_folio_from_iter_atomic {KERNEL}", "copies to and from files"),
        ("7f __memmove_avx_unaligned_erms (/usr/lib/libc.so.6)", "copies within the program"),
        ("7f zip_next (/x/libpython3.11.so.1.0)", "Python"),
        (f"ff ip_queue_xmit {KERNEL}", "network, else"),
        (f"ff do_syscall_64 {KERNEL}", "kernel, else"),
        ("7f main (/tmp/x (deleted))", "else"),
    ],
)
def test_each_sample_has_its_kind(sample: str, kind: str) -> None:
    assert kinds_in([f"        {sample}"]) == {kind: 1}


def test_the_table_has_a_line_for_each_kind_that_took_time() -> None:
    shown = table({"upload": {"hashing": 0.5, "nothing": 0.0}, "restore": {"hashing": 0.25, "nothing": 0.0}})
    first, _, *lines = shown.splitlines()
    assert first.split() == ["|", "seconds", "of", "processor", "time", "|", "upload", "|", "restore", "|"]
    assert [line.split() for line in lines] == [["|", "hashing", "|", "0.50", "|", "0.25", "|"]]
