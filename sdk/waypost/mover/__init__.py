"""The mover: a process beside the program that packs and uploads its saves, so that they take neither its cores nor
its GIL.

The program's side is `keeper.Mover`, the other one `serving.serve`, `wire` what they say to each other. The mover puts
packs and nothing else: manifests and log entries stay with the program, which owns the fence, so a mover that is slow,
frozen or dead can only leave packs that nothing names. Whatever it can't do, the program does itself, with the same
code (`waypost.store.uploading.pack_content`).
"""
