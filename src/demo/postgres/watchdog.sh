# Becomes the server ("$@"), and leaves behind a watchdog that obeys the pipe on standard input:
# the name of a signal to pass on, or `leave`. When the pipe ends, whoever held it is gone:
# the watchdog then ends the server and clears away what it leaves.
# Usage: FAREWELL keep|remove ROOT SOCKET_FOLDER POSTGRES ARGUMENT…
farewell=$1 data=$2 root=$3 socket=$4
shift 4
server=$$
exec 3<&0 </dev/null
# Two subshells deep, so that the watchdog is no child of the server, which would take its end for a crash.
(
    (
        exec >/dev/null 2>&1
        trap '' HUP INT QUIT TERM
        while read -r order <&3; do
            [ "$order" = leave ] && exit 0
            kill -s "$order" "$server"
        done
        # Where nobody reaps the dead server, only the end of its pid file shows that it has ended.
        # A server that has just begun may have none yet.
        patience=20
        [ -e "$root/data/postmaster.pid" ] && patience=0
        kill -s "$farewell" "$server"
        tenths=0
        while kill -0 "$server" && { [ -e "$root/data/postmaster.pid" ] || [ "$tenths" -lt "$patience" ]; }; do
            sleep 0.1 || sleep 1
            tenths=$((tenths + 1))
            [ "$tenths" -eq 600 ] && kill -s KILL "$server"
            [ "$tenths" -gt 620 ] && break
        done
        rm -rf -- "$socket"
        if [ "$data" = remove ]; then
            rm -rf -- "$root/data" "$root/data.new" "$root/server.log"
            rmdir -- "$root"
        fi
    ) &
)
exec 3<&-
exec "$@"
