#!/usr/bin/env bash
# All that is to be shown on a GPU, in pieces: correctness, then speed, then all of Table 2 on CIFAR-10.
#
#   benchmarks/gpu.sh DIR            works for up to LIMIT_S seconds (default 570); exit code 75: call it again, it goes on
#
# Everything is written below DIR. No network is needed. What may lie beside this script:
#   benchmarks/wheels/*.whl          what the machine's Python lacks of pyproject.toml, and timm (installed into DIR/site)
#   IMAGES=FILE                      environment: a tar archive with train/<class>/ and test/<class>/, if the archive of
#                                    CIFAR-10 is not in $ECA_ABLATE_CACHE/archives (default: DIR/cache/archives)
# QUICK=1 runs every piece at its smallest size, on a CPU too, and shows only that it runs.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
[ $# -eq 1 ] || { sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 2; }
mkdir -p "$1" || exit 2
out=$(cd "$1" && pwd)
mkdir -p "$out"/{done,log,benchmarks,site,cache,results}
python=${PYTHON:-python3}
limit=${LIMIT_S:-570}
began=$SECONDS
export PYTHONPATH=$root:$out/site${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1 PYTHONPYCACHEPREFIX=$out/pycache
export ECA_ABLATE_CACHE=${ECA_ABLATE_CACHE:-$out/cache} TORCHINDUCTOR_CACHE_DIR=$out/inductor TRITON_CACHE_DIR=$out/triton
quick=()
[ "${QUICK:-0}" = 1 ] && quick=(--quick)

# piece NAME SECONDS COMMAND...: once; not begun with less than SECONDS left, ended when the time is over. A piece that fails
# is tried again by the next call, twice, and then left out, so that the others have their turn.
failed=0
piece() {
  local name=$1 need=$2 left code tries; shift 2
  [ -e "$out/done/$name" ] && return 0
  tries=$(cat "$out/done/.$name.tries" 2>/dev/null || echo 0)
  [ "$tries" -ge 3 ] && { echo "left out after three tries: $name (see $out/log/$name.log)"; failed=1; return 0; }
  left=$((limit - SECONDS + began))
  [ "$left" -lt "$need" ] && { echo "not begun for lack of time: $name"; exit 75; }
  echo "== $name ($left s left)"
  timeout --signal=TERM --kill-after=20 $((left > 25 ? left - 20 : left)) "$@" >>"$out/log/$name.log" 2>&1
  code=$?
  tail -n 12 "$out/log/$name.log"
  if [ $code -eq 0 ]; then touch "$out/done/$name"; return 0; fi
  [ $code -eq 124 ] || [ $code -eq 137 ] || [ $code -eq 143 ] && { echo "goes on with the next call: $name"; exit 75; }
  echo $((tries + 1)) >"$out/done/.$name.tries"
  echo "failed with exit code $code: $name"
  failed=1
}

install() {
  shopt -s nullglob
  local wheels=("$here"/wheels/*.whl)
  [ ${#wheels[@]} -eq 0 ] && { echo "no wheels beside the script: taking the machine's Python as it is"; return 0; }
  "$python" -m pip install --quiet --no-index --find-links "$here/wheels" --no-deps --upgrade --target "$out/site" \
    "${wheels[@]}"
}

unpack() {
  [ -n "${IMAGES:-}" ] || return 0
  mkdir -p "$out/images.part" && tar -xf "$IMAGES" -C "$out/images.part" && mv "$out/images.part" "$out/images"
}

table2() {
  local workers data=()
  workers=$(cat "$out/benchmarks/workers" 2>/dev/null || echo 1)
  [ -d "$out/images" ] && data=(--data.name imagefolder --data.root "$out/images" --data.image_size 32)
  [ "${QUICK:-0}" = 1 ] && data+=(--data.name digits --recipe.epochs 1 --seeds 1 --backbone.width 0.5 --heads '[none,eca]')
  date -u +%FT%TZ >>"$out/results/begun"
  "$python" -m eca_ablate.cli run "$root/experiments/table2_cifar10.yaml" --out "$out/results/table2_cifar10" \
    --workers "$workers" "${data[@]}" && date -u +%FT%TZ >"$out/results/ended"
}

export -f install unpack table2
export here root out python IMAGES=${IMAGES:-} QUICK=${QUICK:-0}
bench() { piece "$1" "$2" "$python" "$here/$1.py" --out "$out/benchmarks" "${quick[@]}"; }

piece install 30 bash -c install
piece doctor 30 "$python" -m eca_ablate.cli doctor
bench gpu_check 60
[ -e "$out/done/gpu_check" ] || { echo "the heads are not right on this device; nothing is timed"; exit 1; }
bench gpu_modes 240
bench head_op 200
bench overhead 150
piece unpack 30 bash -c unpack
bench train_loop 150
piece table2 60 bash -c table2
bench suite 120
echo "== all pieces are done; results are in $out"
exit $failed
