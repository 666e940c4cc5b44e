#!/bin/sh
# Lays out the files of one layer below /layer, in a build stage of the Containerfile:
#
#   assemble.sh libraries IMAGE    the environment in /opt/waystation with what IMAGE's lock file names
#   assemble.sh product IMAGE      Waystation in it, compiled standard library modules, the bill of materials
#
# Bytecode is compiled here because no container can write it: the root file system is read-only. It is valid
# by declaration (unchecked-hash), so that neither the files' times nor a stat() at start-up matter.
set -eu

part=$1 image=$2
home=/opt/waystation
layer=/layer/$part

compile() { # the tree below $layer, under the names it will have
  "$home/bin/python" -m compileall -q --invalidation-mode unchecked-hash -s "$layer" -p / "$layer$home"
}

case $part in
libraries)
  mkdir -p "$layer/opt"
  /tools/bin/pip --python "$home/bin/python" install --only-binary :all: --require-hashes \
    -r "/src/images/$image.txt"
  rm -f "$home"/bin/activate* "$home"/bin/Activate* # for people's shells
  cp -a "$home" "$layer/opt/"
  compile
  ;;
product)
  mkdir -p "$layer"
  /tools/bin/pip --python "$home/bin/python" install --no-deps --no-index --find-links /wheel \
    --root "$layer" waystation
  compile
  cp -a "$layer/opt" /
  "$home/bin/python" /src/images/bytecode.py "$image" "$layer"
  "$home/bin/python" /src/images/sbom.py write "$layer/usr/share/waystation/sbom.cdx.json" "waystation-$image"
  ;;
esac
