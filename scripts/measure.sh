#!/bin/sh
# Prints one real reading of this machine, a bare number: its temperature in degrees Celsius where it
# has a thermometer (vcgencmd on a Raspberry Pi, else the first thermal zone that answers), else its load.
# Once a second to a broker:
#
#     while sleep 1; do scripts/measure.sh; done | dunlin pub -t house/pi/temperature -l
set -eu

if command -v vcgencmd >/dev/null 2>&1; then
    # temp=48.3'C
    reading=$(vcgencmd measure_temp 2>/dev/null | sed -n "s/^temp=\([0-9.]*\).*/\1/p") || reading=
    if [ -n "$reading" ]; then
        echo "$reading"
        exit 0
    fi
fi

for zone in /sys/class/thermal/thermal_zone*/temp; do
    # Thousandths of a degree. A zone whose sensor sleeps exists but cannot be read.
    reading=$(cat "$zone" 2>/dev/null) || continue
    if [ -n "$reading" ]; then
        echo "$reading" | awk '{ printf "%.1f\n", $1 / 1000 }'
        exit 0
    fi
done

cut -d ' ' -f 1 /proc/loadavg
