#!/bin/sh
# Unpacks the packages of the container images into layers.
# $1 = OUT (gets one tar file per list)  $2 = SOURCES  $3 = SUITE; the rest are further options of mmdebstrap.
set -eu
umask 022
here=$(dirname "$(readlink -f "$0")")
out=$1 sources=$2 suite=$3
shift 3
# An empty root: mmdebstrap is here for its apt, which is set up for this suite and touches nothing of the host's.
# shellcheck disable=SC2016 # the hook's variables are mmdebstrap's
mmdebstrap --mode=root --variant=custom --format=null --aptopt='Acquire::Languages "none"' \
  --customize-hook="APT_CONFIG=\"\$MMDEBSTRAP_APT_CONFIG\" sh '$here/unpack.sh' '$here' '$out'" \
  "$@" "$suite" - "$sources"
