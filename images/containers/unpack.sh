#!/bin/sh
# mmdebstrap customize hook: unpacks each package list into a root of its own, without maintainer scripts, and packs it
# as a tar file: one image layer per list. APT_CONFIG is mmdebstrap's, so that packages come from this build's suite,
# mirror and signatures.
# $1 = LISTS (folder with *.packages.txt)  $2 = OUT (gets NAME.tar per list)
set -eu
umask 022
lists=$1 out=$2
work=$out/.work
mkdir -p "$work/debs"
names() { grep -hv '^#' "$@" | sort -u; }

cd "$work/debs"
# shellcheck disable=SC2046 # one word per package
apt-get --quiet download $(names "$lists"/*.packages.txt)

for list in "$lists"/*.packages.txt; do
  root=$work/$(basename "$list" .packages.txt)
  mkdir -p "$root/usr/bin" "$root/usr/sbin" "$root/usr/lib" "$root/usr/lib64"
  for dir in bin sbin lib lib64; do ln -s "usr/$dir" "$root/$dir"; done
  for package in $(names "$list"); do
    for deb in "${package}"_*.deb; do
      dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$root" --keep-directory-symlink \
        --exclude='./usr/share/man' --exclude='./usr/share/locale' --exclude='./usr/share/lintian' \
        --exclude='./usr/share/bash-completion' --exclude='./usr/share/info' --exclude='./etc/init.d' \
        --exclude='./lib/systemd' --exclude='./usr/lib/*/gconv' --exclude='./usr/bin/etcd-dump-*' \
        --exclude='./usr/share/doc/*/changelog*' --exclude='./usr/share/doc/*/NEWS*'
    done
  done
done

base=$work/base
# Every busybox command that Debian's own packages above do not bring; nc must be OpenBSD's, busybox's has no -u.
ln -s nc.openbsd "$base/usr/bin/nc"
# busybox's own sh would run its own nc, whatever PATH says.
ln -sf dash "$base/usr/bin/sh"
for applet in $("$base/usr/bin/busybox" --list); do
  case $applet in init | linuxrc | dpkg | dpkg-deb | rpm) continue ;; esac
  if [ ! -e "$base/usr/bin/$applet" ]; then ln -s busybox "$base/usr/bin/$applet"; fi
done
mkdir -p "$base/etc"
mkdir -m 1777 "$base/tmp"
printf 'root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' > "$base/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' > "$base/etc/group"

# A web server that needs no more than its image: no user, folder or file that only maintainer scripts make.
web=$work/nginx
mkdir -p "$web/etc/nginx" "$web/var/www/html" "$web/var/lib/nginx" "$web/var/log/nginx"
echo 'nginx in the lab' > "$web/var/www/html/index.html"
cat > "$web/etc/nginx/nginx.conf" << 'END'
daemon off;
user nobody nogroup;
pid /tmp/nginx.pid;
error_log stderr;
events {}
http {
  access_log off;
  default_type text/plain;
  server {
    listen 80;
    root /var/www/html;
  }
}
END

# The names that people type; Debian's alternatives, which only maintainer scripts set up, would make the second.
ln -s kdig "$work/toolbox/usr/bin/dig"
ln -s traceroute.db "$work/toolbox/usr/bin/traceroute"

# tcpdump gives root up for this one.
mkdir -p "$work/toolbox/etc"
{ cat "$base/etc/passwd"; echo 'tcpdump:x:100:65534:tcpdump:/:/bin/false'; } > "$work/toolbox/etc/passwd"

# Debian chooses the nft variant by alternatives, which only maintainer scripts set up.
for command in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
  ln -s xtables-nft-multi "$work/kube-proxy/usr/sbin/$command"
done

# The lists name libraries one by one, so a package that gains one would break an image: ask the loader of each.
check() {
  for program in "$1"/usr/bin/* "$1"/usr/sbin/*; do
    if [ -L "$program" ] || [ ! -f "$program" ] || [ "$(head -c 4 "$program" | tail -c 3)" != ELF ]; then continue; fi
    case ${program##*/} in busybox) continue ;; esac
    loader=$(cd "$1" && echo lib*/ld-linux*.so.*)
    if ! missing=$(chroot "$1" "/${loader%% *}" --list "/${program#"$1"/}" 2>&1); then
      echo "${program#"$work"/} does not find its libraries: $missing" >&2
      exit 1
    fi
  done
}
for name in cluster-dns nginx toolbox ingress; do
  cp -al "$base" "$work/$name-check"
  cp -al --force "$work/$name/." "$work/$name-check/"
done
for root in base etcd kube-proxy cluster-dns-check nginx-check toolbox-check ingress-check; do check "$work/$root"; done
chroot "$work/nginx-check" /usr/sbin/nginx -t -q
chroot "$base" /usr/bin/python3 -B -c 'import asyncio, http.server, json, ssl, urllib.request'
# Each container would compile them at its start, in five times the time. Not checked against the files' times, which are
# set below.
for modules in "$base"/usr/lib/python3.*; do
  chroot "$base" /usr/bin/python3 -m compileall -q --invalidation-mode unchecked-hash "${modules#"$base"}"
done

for list in "$lists"/*.packages.txt; do
  name=$(basename "$list" .packages.txt)
  tar --sort=name --mtime=@0 --numeric-owner --owner=0 --group=0 -C "$work/$name" -cf "$out/$name.tar" .
done
rm -rf "$work"
