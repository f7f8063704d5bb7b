#!/bin/sh
# Debian's ffmpeg with the libraries that it loads, under /layers/ffmpeg: 240 MB, where its package and all that this
# depends on come to 480 (drivers of screens and sound cards among them).
set -eu
layer=/layers/ffmpeg
find / -xdev -name '*.so*' | sort >/tmp/before
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends ffmpeg >/dev/null
program=$(command -v ffmpeg)
# Flat beside the C library, where the linker looks: some lie in folders that only Debian's alternatives lead to.
folder=$(dirname "$(ldd "$program" | awk '/libc\.so/ {print $3}')")
folder=/usr${folder#/usr} # /lib leads there, and a layer cannot put a folder in its place
mkdir -p "$layer$folder" "$layer/usr/bin" "$layer/var/lib/dpkg/status.d" "$layer/usr/share/doc"
cp "$program" "$layer/usr/bin/"
readlink -f "$program" >/tmp/copied
ldd "$program" | awk '/=> \// {print $3}' | sort -u | while read -r library; do
    real=$(readlink -f "$library")
    if ! grep -qxF "$real" /tmp/before; then
        cp -L "$library" "$layer$folder/"
        echo "$real" >>/tmp/copied
    fi
done
# Whoever looks for known faults, and for licences, finds what is in the image.
xargs dpkg -S </tmp/copied | cut -d: -f1 | sort -u | while read -r package; do
    dpkg -s "$package" >"$layer/var/lib/dpkg/status.d/$package"
    mkdir -p "$layer/usr/share/doc/$package"
    cp -L "/usr/share/doc/$package/copyright" "$layer/usr/share/doc/$package/"
done
