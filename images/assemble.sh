#!/bin/sh
# Lays out the files of one layer below /layer, in a build stage of the Containerfile:
#
#   assemble.sh libraries IMAGE    the environment in /opt/waystation with what IMAGE's lock file names
#   assemble.sh product IMAGE      Waystation in it, bytecode the base lacks, the bill of materials
#
# Bytecode is compiled here because no container can write it: the root file system is read-only. It is valid
# by declaration (unchecked-hash), so that neither the files' times nor a stat() at start-up matter.
set -eu

part=$1 image=$2
home=/opt/waystation
layer=/layer/$part

compile() {
  "$home/bin/python" -m compileall -q --invalidation-mode unchecked-hash "$@"
}

case $part in
libraries)
  mkdir -p "$layer/opt"
  /tools/bin/pip --python "$home/bin/python" install --no-compile --only-binary :all: --require-hashes \
    -r "/src/images/$image.txt"
  rm -f "$home"/bin/activate* "$home"/bin/Activate* # for people's shells
  # The Kubernetes client is 126 MB with bytecode, 70 without, and nearly all of it is never loaded.
  compile -x '/site-packages/kubernetes/' "$home"
  cp -a "$home" "$layer/opt/"
  ;;
product)
  mkdir -p "$layer"
  /tools/bin/pip --python "$home/bin/python" install --no-compile --no-deps --no-index \
    --no-warn-script-location --find-links /wheel --root "$layer" waystation
  compile -s "$layer" -p / "$layer$home" # under the names the files will have
  cp -a "$layer/opt" /
  "$home/bin/python" /src/images/bytecode.py "$image" "$layer"
  "$home/bin/python" /src/images/sbom.py write "$layer/usr/share/waystation/sbom.cdx.json" "waystation-$image"
  ;;
esac
