"""Builds a target of the Dockerfile in a folder, without Docker, and tries the image's reeldex in it.

- `dockerfile.py`: the instructions of a Dockerfile, and the files of its build context.
- `root.py`: runs a program in a folder as if it were the root file system.
- `build.py`: carries out the instructions: FROM by debootstrap, RUN by chroot, COPY by cp.
- `trial.py`: uses the built image as a container uses it, and reports.
"""
