#!/bin/sh
# Installs PyTorch: install_torch.sh cpu|cuda requirements-torch.lock [OPTION OF uv pip install]..., with uv (or $UV).
#
# cuda: as the lock says, with its hashes. cpu: the same version without CUDA libraries, from PyTorch's own index; or,
# without network, the newest in the folder $WHEELS that reeldex accepts. The lock has no hashes of these builds.
set -eu
kind=$1 lock=$2
shift 2
case $kind in
  cuda) set -- "$@" --require-hashes -r "$lock" ;;
  cpu)
    if [ -n "$(find "${WHEELS:-/nonexistent}" -name 'torch-*.whl' 2> /dev/null)" ]; then
      set -- "$@" --no-index --find-links "$WHEELS" "torch>=2.11"
    else
      set -- "$@" --torch-backend cpu "$(sed -nE 's/^(torch==[^ ]+).*/\1/p' "$lock")"
    fi
    ;;
  *)
    echo "install_torch.sh: '$kind' is neither cpu nor cuda" >&2
    exit 2
    ;;
esac
exec "${UV:-uv}" pip install --quiet --no-deps "$@"
