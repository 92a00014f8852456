#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-3.0-or-later
#
# Builds docker/Dockerfile for real, without a Docker daemon and without an image registry, and runs a
# demo on 2 ranks, the guide's build and tests on 1, 2 and 3 ranks in the image as its user. Its base is
# made here from Debian's packages (debootstrap), so it is Debian 13 to the version, but not the
# published image to the byte.
#
# The tests are those of what an image can break: libraries for meshes, pictures and files, the compiler
# of forms, PETSc's solvers, MPI. TESTS="make test" runs all instead, in most of an hour.
#
# Needs root and 8 GB in $TMPDIR (default /var/tmp); installs buildah and debootstrap by apt-get where
# they are missing. $PIP_CERT, if set, is the file of certificates that pip uses in the build.
# Leaves nothing behind but those two packages.
set -euo pipefail

unit() { printf 'tests/unit/test_%s.py,' "$@" | sed 's/,$//'; }
ranks="$(unit checkpoint collective meshes stopping stray_field)"
alone="$ranks,$(unit face image output plot solver tangent_plane terms thermal),tests/verification/test_midpoint.py"
# Time limits are those of a machine with much other work.
TESTS=${TESTS:-"LLG_TEST_TIMEOUT=3600 python3 .ci/pytest_ranks.py 1x2:$alone 2:$ranks 3:$ranks"}

cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '\n== %s\n' "$*"; }
die() { printf 'Error: %s\n' "$*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || die "make docker-check needs root (debootstrap, chroot): use sudo make docker-check."
tools=()
for tool in buildah debootstrap; do
    type -P "$tool" >/dev/null || tools+=("$tool")
done
if [ ${#tools[@]} -gt 0 ]; then
    type -P apt-get >/dev/null || die "missing: ${tools[*]}; install them with the system's package manager."
    say "Installing ${tools[*]}"
    apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${tools[@]}"
fi

work=$(mktemp -d "${TMPDIR:-/var/tmp}/dolfinx_llg_image.XXXXXX")
export STORAGE_DRIVER=vfs
buildah() { command buildah --root "$work/storage" --runroot "$work/run" "$@"; }
clean_up() {
    buildah rm --all >/dev/null 2>&1 || true
    # A file system that is still mounted here must not be emptied.
    if grep -q " $work/" /proc/mounts; then
        printf 'Left behind, something is still mounted in it: %s\n' "$work" >&2
    else
        rm -rf "$work"
    fi
}
trap clean_up EXIT
trap 'exit 1' INT TERM

say "Base image: Debian 13 by debootstrap"
debootstrap --variant=minbase trixie "$work/base" >"$work/debootstrap.log" 2>&1 ||
    { tail -n 20 "$work/debootstrap.log" >&2; die "debootstrap failed."; }
rm -rf "$work"/base/var/cache/apt/archives/*.deb "$work"/base/var/lib/apt/lists/*
container=$(buildah from scratch)
buildah add -q "$container" "$work/base" / >/dev/null
buildah commit -q --rm "$container" localhost/debian:trixie-slim >/dev/null
rm -rf "$work/base"

say "Building docker/Dockerfile"
certificates=()
network=()
if [ -n "${PIP_CERT:-}" ]; then
    certificates=(-v "$PIP_CERT:/run/ca.crt:ro" --build-arg PIP_CERT=/run/ca.crt)
    network=(-v "$PIP_CERT:/run/ca.crt:ro" --env PIP_CERT=/run/ca.crt --env SSL_CERT_FILE=/run/ca.crt)
fi
SECONDS=0
buildah bud --isolation chroot --pull-never "${certificates[@]}" -f docker/Dockerfile -t localhost/dolfinx_llg .
printf "built in %d s\n" "$SECONDS"
container=$(buildah from --pull-never localhost/dolfinx_llg)
inside() {
    timeout -k 30 "$1" buildah --root "$work/storage" --runroot "$work/run" \
        run --isolation chroot "${network[@]}" "$container" -- "${@:2}"
}

say "Inside: user and versions"
inside 120 sh -c 'id -un; python3 --version; python3 -c "from mpi4py import MPI; import dolfinx; print(\"DOLFINx\", dolfinx.__version__)"'
[ "$(inside 60 id -u)" = 1000 ] || die "the image does not run as its own user."

say "Inside: demo on 2 ranks"
inside 900 mpirun -n 2 python demos/demo_rough_exchange.py --quick --output output
inside 120 python -c '
import pathlib, sys
import matplotlib.image
pictures = sorted(pathlib.Path("output").rglob("*.png"))
for picture in pictures:
    spread = float(matplotlib.image.imread(picture)[..., :3].std())
    print(f"{picture}: {picture.stat().st_size} bytes, standard deviation of the colours {spread:.3f}")
    if spread < 0.01:
        sys.exit(f"{picture} is empty")
sys.exit(not pictures and "the demo made no picture")
'

say "Inside: off-screen rendering by pyvista"
inside 120 python -c '
import pyvista
plotter = pyvista.Plotter(off_screen=True)
plotter.add_mesh(pyvista.Sphere(), color="red")
image = plotter.screenshot()
print(plotter.render_window.GetClassName(), image.shape, f"standard deviation {image.std():.1f}")
assert image.std() > 1
'

say "Inside: a .msh file"
inside 300 python -c '
import gmsh
gmsh.initialize()
gmsh.model.occ.addBox(0, 0, 0, 1, 1, 1)
gmsh.model.occ.synchronize()
gmsh.model.addPhysicalGroup(3, [1], 7)
gmsh.model.mesh.generate(3)
gmsh.write("/tmp/cube.msh")
gmsh.finalize()
from mpi4py import MPI
import dolfinx_llg as llg
data = llg.read_mesh(MPI.COMM_WORLD, "/tmp/cube.msh")
print("cells:", data.mesh.topology.index_map(3).size_global, "tags:", set(data.cell_tags.values))
assert set(data.cell_tags.values) == {7}
'

say "Inside, in a new container: a demo as another uid"
other=$(buildah from --pull-never localhost/dolfinx_llg)
timeout -k 30 900 buildah --root "$work/storage" --runroot "$work/run" run --isolation chroot \
    --user 4321:4321 "$other" -- sh -c '
    mpirun -n 2 python demos/demo_rough_exchange.py --quick --output output &&
    test "$(stat -c %u output/*.png | sort -u)" = 4321' ||
    die "the image does not work for another uid."

say "Inside: the guide"
SECONDS=0
inside 5400 make docs 2>&1 | grep -v -e IPKernelApp -e traitlets -e '^$'
inside 60 test -s build/guide/html/tutorials/1_relax_a_film.html
printf "guide built in %d s\n" "$SECONDS"

say "Inside: $TESTS"
SECONDS=0
inside 10800 sh -c "$TESTS"
printf "tested in %d s\n" "$SECONDS"
say "Size of the image"
buildah images --format '{{.Name}} {{.Size}}' | grep dolfinx_llg
say "docker-check passed"
