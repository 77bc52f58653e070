# What programs expect of a system. It runs in a guest, under bash.
set -e
echo to stderr >/dev/stderr
echo to stdout >/dev/stdout
echo piped | cat /dev/stdin
cat <(echo substituted)
echo shared >/dev/shm/x && cat /dev/shm/x
for dir in /etc /root /run /tmp /var/tmp; do test -d $dir || echo "no $dir"; done
touch /var/tmp/x /run/x
echo "host $(hostname)"
getent hosts localhost | head -n1
getent passwd 0 | cut -d: -f1
echo "user $(id -un)"
# A root of its own, in new namespaces: what containers do.
unshare --user --map-root-user --mount sh -ec '
	mount -t tmpfs tmpfs /tmp && mkdir /tmp/old && cd /tmp && pivot_root . old && test -d /old/proc'
echo "namespaces fine"
unshare --mount sh -ec 'mount -t tmpfs tmpfs /tmp && mkdir /tmp/old && cd /tmp && pivot_root . old'
echo "root fine"
r=$(uname -r)
test -e /boot/config-$r && echo "configuration fine"
test -e /lib/modules/$r/modules.dep && echo "modules fine"
