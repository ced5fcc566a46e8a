# Sourced after env.sh by the scripts that compute: `launch train SPEC ...` on one process, or on those that the settings ask for.

here=$PWD  # where the script was called: relative paths in the settings start there
mplug2=$venv/bin/mplug2

# A path as seen from the project's folder, where everything runs.
from_project() {
    case $1 in
        /*) printf '%s\n' "$1" ;;
        *) if [ "$here" != "$project" ] && [ -e "$here/$1" ]; then printf '%s\n' "$here/$1"; else printf '%s\n' "$1"; fi ;;
    esac
}

launch() {
    if [ -n "${NNODES:-}" ]; then
        [ -n "${MASTER_ADDR:-}" ] || die "NNODES=$NNODES needs MASTER_ADDR=, the name of the first machine, too"
        "$venv/bin/torchrun" --nnodes "$NNODES" --node_rank "${NODE_RANK:-0}" --nproc_per_node "${GPUS:-1}" \
            --master_addr "$MASTER_ADDR" --master_port "${MASTER_PORT:-29500}" -m mplug2 "$@"
    elif [ -n "${HOSTFILE:-}" ]; then
        [ -f "$HOSTFILE" ] || die "HOSTFILE=$HOSTFILE must be a file of lines such as 'worker-1 slots=8', but there is none"
        "$venv/bin/deepspeed" --hostfile "$HOSTFILE" ${GPUS:+--num_gpus "$GPUS"} --module mplug2 "$@"
    elif [ -n "${GPUS:-}" ]; then
        "$venv/bin/deepspeed" --num_gpus "$GPUS" --module mplug2 "$@"
    else
        "$mplug2" "$@"
    fi
}
