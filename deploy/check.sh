#!/bin/sh
# Checks what is in deploy/ with the tools that are on this machine, and says what it cannot check. Nothing is fetched.
# Ends with 1 when a check fails. What can be checked without tools is in tests/suite/deployment.rs.
set -u
cd "$(dirname "$0")" || exit 1
failed=0
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

not_checked() { echo "NOT CHECKED: $1, since $2 is not there"; }
has() { command -v "$1" >/dev/null 2>&1; }
check() { # what it proves, then the command
    what=$1
    shift
    if "$@" >"$work/told" 2>&1; then
        echo "ok: $what"
    else
        echo "FAILED: $what"
        sed 's/^/  /' "$work/told"
        failed=1
    fi
}

echo "== systemd"
if has systemd-analyze; then
    for unit in koresync koresync-migrate; do
        # In tenths, as the option wants it.
        check "exposure of $unit.service: $(systemd-analyze security --offline=true "systemd/$unit.service" |
            sed -n 's/.*: \([0-9.]*\) .*/\1/p' | tail -n 1), 1.2 at most" \
            systemd-analyze security --offline=true --threshold=12 "systemd/$unit.service"
    done
    # The units as installed, beside those of the system and a program where ExecStart= looks for one.
    mkdir -p "$work/root/usr/local/bin" "$work/root/etc/systemd/system" "$work/root/usr/lib/systemd"
    for folder in /usr/lib/systemd/system /lib/systemd/system; do
        [ -d "$folder" ] && [ ! -d "$work/root/usr/lib/systemd/system" ] && cp -R "$folder" "$work/root/usr/lib/systemd/"
    done
    cp systemd/*.service "$work/root/etc/systemd/system/"
    printf '#!/bin/sh\n' >"$work/root/usr/local/bin/koresync"
    chmod 755 "$work/root/usr/local/bin/koresync"
    # What is only warned of is a fault as well.
    systemd-analyze verify --root="$work/root" --man=no koresync.service koresync-migrate.service >"$work/said" 2>&1 ||
        echo "systemd-analyze ends with $?" >>"$work/said"
    check "the units are valid, and nothing is said about them" diff /dev/null "$work/said"
    mkdir -p "$work/root/usr/lib/sysusers.d" "$work/root/usr/lib/tmpfiles.d"
    cp systemd/koresync.sysusers "$work/root/usr/lib/sysusers.d/koresync.conf"
    cp systemd/koresync.tmpfiles "$work/root/usr/lib/tmpfiles.d/koresync.conf"
    if has systemd-sysusers && has systemd-tmpfiles && [ "$(id -u)" -eq 0 ]; then
        check "the user" systemd-sysusers --root="$work/root" koresync.conf
        check "the folders" systemd-tmpfiles --root="$work/root" --create koresync.conf
    else
        not_checked "user and folders" "root, systemd-sysusers or systemd-tmpfiles"
    fi
else
    not_checked "the units" systemd-analyze
fi

echo "== Kubernetes"
if has kubectl || has kustomize; then
    render() { if has kubectl; then kubectl kustomize "$1"; else kustomize build "$1"; fi; }
    for overlay in single replicated migrate backfill monitoring; do
        if render "kubernetes/overlays/$overlay" >"$work/$overlay.yaml" 2>"$work/told"; then
            echo "ok: $overlay is rendered"
        else
            echo "FAILED: $overlay cannot be rendered"
            sed 's/^/  /' "$work/told"
            failed=1
        fi
    done
    # The kinds of the Prometheus operator are known to neither.
    for overlay in single replicated migrate backfill; do
        has kubernetes-validate && check "$overlay obeys the schemas" kubernetes-validate --strict "$work/$overlay.yaml"
        has checkov && check "$overlay is as careful as can be" \
            checkov --framework kubernetes --compact --quiet --skip-download -f "$work/$overlay.yaml"
    done
    has kubernetes-validate || not_checked "the schemas of the overlays" kubernetes-validate
    has checkov || not_checked "the policies of the overlays" checkov
else
    not_checked "the overlays" "kubectl or kustomize"
fi

echo "== alerts"
if has promtool; then
    check "the rules are valid" promtool check rules prometheus/koresync.rules.yaml
    check "each alert fires where it must, and where it must not it does not" promtool test rules prometheus/tests/*.yaml
else
    not_checked "the alerts" promtool
fi

echo "== container"
if has hadolint; then
    check "the Dockerfile" hadolint container/Dockerfile
else
    not_checked "the Dockerfile" hadolint
fi
if docker compose version >/dev/null 2>&1; then
    check "compose.yaml" docker compose -f container/compose.yaml config --quiet
elif has check-jsonschema; then
    check "compose.yaml obeys its schema" check-jsonschema --builtin-schema vendor.compose-spec container/compose.yaml
else
    not_checked "compose.yaml" "docker compose or check-jsonschema"
fi

echo "== scripts"
if has shellcheck; then
    check "the scripts" shellcheck check.sh setup/cargo-tool.sh setup/postgres.sh ../tests/alerts/run.sh
else
    not_checked "the scripts" shellcheck
fi

[ "$failed" -eq 0 ] && echo "== nothing has failed"
exit "$failed"
