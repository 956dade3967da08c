"""A program's state in memory (a nested mapping of tensors, arrays and plain values), saved and restored as such.

Saving: `structure` walks the state and names its tensors, `arrays` says what memory each has, `safetensors` lays them
out as one file, and `saving` copies that file's image into one of the reused `buffers`, from where it is uploaded.
Restoring (`restoring`): the same file's header tells what there is and where, and the bytes go, verified, straight to
where they belong. In the store it is an ordinary file `state.safetensors`, which any tool reads.

Neither torch nor numpy is needed or imported here; whose arrays a program has, that library it has loaded already.
"""
