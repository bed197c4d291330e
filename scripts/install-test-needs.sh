#!/usr/bin/env bash
# Installs what the tests need beside Rust: Debian's Mosquitto tools and Valgrind and, under
# target/test-needs (or $DUNLIN_TEST_NEEDS), a Python environment with paho-mqtt and a Node folder with
# MQTT.js, both at the versions pinned in crates/cli/tests/interop. Running it again does nothing that is
# already done.
# Runs as root, or as a user who may use sudo when a Debian package is missing.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
needs=${DUNLIN_TEST_NEEDS:-$root/target/test-needs}
pins=$root/crates/cli/tests/interop
node_major_min=18

fail() {
    printf 'install-test-needs: %s\n' "$*" >&2
    exit 1
}

has() {
    command -v "$1" >/dev/null 2>&1
}

# Runs a command in silence; what it printed is shown if it fails.
quietly() {
    local what=$1 log
    shift
    log=$(mktemp)
    if ! "$@" >"$log" 2>&1 </dev/null; then
        cat "$log" >&2
        rm -f "$log"
        fail "$what failed (see above)"
    fi
    rm -f "$log"
}

missing_packages() {
    has mosquitto_pub && has mosquitto_sub || echo mosquitto-clients
    # Debian puts the broker in /usr/sbin, which is not on every user's PATH.
    has mosquitto || [ -x /usr/sbin/mosquitto ] || echo mosquitto
    has stdbuf || echo coreutils
    has valgrind || echo valgrind
    has python3 && python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || echo python3 python3-venv
    has node || echo nodejs
    has npm || echo npm
}

install_packages() {
    local as_root=()
    if ! has apt-get; then
        fail "this machine has no apt-get; install these by hand and run me again: $*"
    fi
    if [ "$(id -u)" -ne 0 ]; then
        has sudo || fail "these packages are missing and I am neither root nor find sudo: $*"
        as_root=(sudo)
        # Asks for the password, if at all, while the terminal is still there.
        sudo -v || fail "sudo is needed to install: $*"
    fi
    local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
    echo "installing Debian packages: $*"
    quietly "apt-get update" "${apt[@]}" update
    quietly "apt-get install $*" "${apt[@]}" install -y --no-install-recommends "$@"
    # Debian starts the new Mosquitto on port 1883, where the user will want Dunlin.
    if [[ " $* " == *" mosquitto "* ]] && [ -d /run/systemd/system ]; then
        quietly "stopping Debian's mosquitto service" \
            "${as_root[@]}" systemctl --quiet disable --now mosquitto.service
    fi
}

# The marker is a copy of the pins, written last: it says what is installed, and that it is complete.
install_paho() {
    local venv=$needs/venv
    if cmp -s "$pins/requirements.txt" "$venv/installed" && "$venv/bin/python" -c 'import paho.mqtt' 2>/dev/null; then
        return
    fi
    echo "installing paho-mqtt into $venv"
    quietly "python3 -m venv" python3 -m venv --clear "$venv"
    quietly "pip install" "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        --require-hashes --only-binary :all: -r "$pins/requirements.txt"
    cp "$pins/requirements.txt" "$venv/installed"
}

install_mqttjs() {
    local node=$needs/node
    if cmp -s "$pins/package-lock.json" "$node/installed" && [ -f "$node/node_modules/mqtt/package.json" ]; then
        return
    fi
    if ! node -e "process.exit(parseInt(process.versions.node, 10) >= $node_major_min ? 0 : 1)"; then
        fail "Node $node_major_min or later is needed, this is $(node --version)"
    fi
    echo "installing MQTT.js into $node"
    mkdir -p "$node"
    cp "$pins/package.json" "$pins/package-lock.json" "$node/"
    quietly "npm ci" npm ci --prefix "$node" --ignore-scripts --no-audit --no-fund
    cp "$pins/package-lock.json" "$node/installed"
}

main() {
    local packages
    mapfile -t packages < <(missing_packages | tr ' ' '\n')
    if [ "${#packages[@]}" -gt 0 ]; then
        install_packages "${packages[@]}"
    fi
    mkdir -p "$needs"
    install_paho
    install_mqttjs
    echo "the tests' needs are in place: $needs"
}

main
