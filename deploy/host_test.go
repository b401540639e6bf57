package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mosdocker/mosdocker/internal/testx"
)

// host makes a host of its own for a shell script: empty folders where the bundle is put, a
// copy of the repository with programs that do nothing, and commands that only tell in /tmp/did
// that they were called. The script's first word is where the copy is.
const host = `set -eu
mount -t tmpfs none /mnt
cp -R /etc/passwd /etc/group "$1" /mnt/ # it may lie below one of these
for d in /etc /run /tmp /var /usr/local /usr/lib/systemd; do [ ! -d $d ] || mount -t tmpfs -o mode=755 none $d; done
cp /mnt/passwd /mnt/group /etc/
mkdir -p /run/systemd/system /run/docker/plugins /run/mos /etc/systemd/system /etc/docker /usr/lib/systemd/system /var/log/mos /var/lib /usr/local/bin /tmp/cmd /tmp/repo/bin
cp -R "/mnt/${1##*/}" /tmp/repo/deploy
umount /mnt
for p in docker-mos mosbridge mos-lvm mos-authz mosd mos-scheduler; do printf '#!/bin/sh\n' >/tmp/repo/bin/$p; chmod 755 /tmp/repo/bin/$p; done
for c in systemctl ovs-vsctl deb-systemd-invoke groupadd addgroup; do printf '#!/bin/sh\necho "$0 $*" | sed "s,.*/,," >>/tmp/did\n' >/tmp/cmd/$c; chmod 755 /tmp/cmd/$c; done
export PATH="/tmp/cmd:$PATH"
printf '#!/bin/sh\necho "deb-systemd-helper $*" >>/tmp/did; [ -n "$DPKG_MAINTSCRIPT_PACKAGE" ] || { echo "was not called from dpkg" >>/tmp/did; exit 1; }\n' >/tmp/cmd/deb-systemd-helper
chmod 755 /tmp/cmd/deb-systemd-helper
touch /tmp/did /run/docker/plugins/mosbridge.sock
cd /tmp/repo
refused() { # WORD COMMAND...: it fails and says that word
	word=$1
	shift
	! "$@" >/tmp/said 2>&1 || { echo "$*: is taken"; exit 1; }
	grep -q -e "$word" /tmp/said || { echo "$*: says $(cat /tmp/said), want $word"; exit 1; }
}
is() { [ "$2" = "$3" ] || { echo "$1: is $2, want $3"; exit 1; }; }
`

// onHost runs a script on such a host.
func onHost(t *testing.T, script string) {
	t.Helper()
	testx.Need(t, testx.Root)
	for _, f := range []string{"lib", "install", "down", "demo", "debian/preinst", "debian/postinst", "debian/prerm", "debian/postrm"} {
		if _, err := os.ReadFile(f); err != nil { // a kept result of this test is of these scripts
			t.Fatal(err)
		}
	}
	dir, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "unshare", "-m", "--propagation", "private", "sh", "-c", host+script, "host", dir).CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, strings.TrimSpace(string(out)))
	}
}

// TestInstallAndUninstall: what is installed all may use, whatever the umask; mosd, which would
// repair what goes, goes first.
func TestInstallAndUninstall(t *testing.T) {
	onHost(t, `sed -i '/^docker:/d' /etc/group
(umask 077; deploy/install)
is "the folder of plugins" "$(stat -c %a /usr/local/lib/docker/cli-plugins)" 755
is policy "$(stat -c %a /etc/mos /etc/mos/policy.toml | tr '\n' ' ')" "755 644 "
grep -q 'groupadd -r docker' /tmp/did || { echo "nobody is in the group of the sockets, and nobody made it"; exit 1; }
: >/tmp/did
deploy/install --remove
is "what stops first" "$(grep -o -e 'mosd.service' -e 'mosbridge.service' /tmp/did | head -1)" mosd.service
is "what is left" "$(find /usr/local /etc/systemd /run/mos /run/docker -type f 2>/dev/null)" ""
[ -s /etc/mos/policy.toml ]
deploy/install --remove # nothing to do
refused "make deb" env DESTDIR=/tmp/elsewhere deploy/install
`)
}

// TestUninstallLeavesThePackageAlone: one host has one of the two.
func TestUninstallLeavesThePackageAlone(t *testing.T) {
	onHost(t, `touch /usr/lib/systemd/system/mosbridge.socket
refused "apt-get remove" deploy/install --remove
is "what was done" "$(cat /tmp/did)" ""
[ -e /run/docker/plugins/mosbridge.sock ]
refused "apt-get remove" deploy/install
`)
}

// TestThePackageComesOverNoUnitOfMakeInstall, not even the last one of an uninstall that was
// cut off, but over those that an administrator changed for it.
func TestThePackageComesOverNoUnitOfMakeInstall(t *testing.T) {
	onHost(t, `sh deploy/debian/preinst install
for unit in mosbridge.socket mos-lvm.service mosd.service mos-scheduler.service mos-set-caps.service; do
	cp deploy/$unit /etc/systemd/system/
	mkdir -p /usr/local/bin
	: >/usr/local/bin/${unit%.*}
	refused "make uninstall" sh deploy/debian/preinst install
	sh deploy/debian/preinst upgrade 1
	sh deploy/debian/preinst abort-upgrade 1
	rm /etc/systemd/system/$unit /usr/local/bin/${unit%.*}
done
ln -s /dev/null /etc/systemd/system/mosd.service
sh deploy/debian/preinst install

# An administrator's own, over those of a package that was removed since.
sed 's,/usr/local/bin/,/usr/bin/,' deploy/mos-lvm.service >/etc/systemd/system/mos-lvm.service
sh deploy/debian/preinst install
sed 's,0660,0600,' deploy/mos-authz.socket >/etc/systemd/system/mos-authz.socket
sh deploy/debian/preinst install
`)
}

// TestThePolicyStays: the package makes it where there is none, changes none, and takes it
// away by a purge only, and not when make install has come since.
func TestThePolicyStays(t *testing.T) {
	onHost(t, `mkdir -p /usr/local/share; mkdir -p /tmp/share
sed 's,/usr/share/mosdocker,/tmp/share,' deploy/debian/postinst >/tmp/postinst
cp deploy/policy.toml /tmp/share/
export DPKG_MAINTSCRIPT_PACKAGE=mosdocker
sh /tmp/postinst configure
cmp deploy/policy.toml /etc/mos/policy.toml
is mode "$(stat -c %a /etc/mos /etc/mos/policy.toml | tr '\n' ' ')" "755 644 "
echo '# ours' >>/etc/mos/policy.toml
sh /tmp/postinst configure 1
is "after an upgrade" "$(tail -n 1 /etc/mos/policy.toml)" '# ours'
sh deploy/debian/postrm remove
is "after a removal" "$(tail -n 1 /etc/mos/policy.toml)" '# ours'
unset DPKG_MAINTSCRIPT_PACKAGE
: >/tmp/did
deploy/install
! grep -q 'not called' /tmp/did && grep -q 'deb-systemd-helper purge mosbridge.socket' /tmp/did || { echo "the package's memory of units is left"; exit 1; }
: >/tmp/did
touch /var/log/mos/audit.log
sh deploy/debian/postrm purge
is "after a purge beside make install" "$(tail -n 1 /etc/mos/policy.toml)" '# ours'
is "what was done" "$(cat /tmp/did)" ""
[ -e /var/log/mos/audit.log ]
deploy/install --remove
touch /etc/mos/mosd.toml
sh deploy/debian/postrm purge
is "after a purge" "$(ls /etc/mos /var/log)" '/etc/mos:
mosd.toml

/var/log:'
`)
}

// TestDownStopsWhenItCannotLook: what Docker does not tell is not taken for nothing.
func TestDownStopsWhenItCannotLook(t *testing.T) {
	onHost(t, `rmdir /run/systemd/system /run/systemd
printf '#!/bin/sh\ncase $* in version) ;; network?ls*) exit 7 ;; esac\n' >/tmp/cmd/docker
chmod 755 /tmp/cmd/docker
ln -s docker-mos bin/docker-set
refused "networks" deploy/down
printf '#!/bin/sh\n' >/tmp/cmd/docker
rm bin/docker-set
refused "sets" deploy/down
ln -s docker-mos bin/docker-set
deploy/down
`)
}

// TestNobodyIsAskedWhereNobodyReads: at a terminal docker mos asks, and what demo and down throw
// away is not to be waited for.
func TestNobodyIsAskedWhereNobodyReads(t *testing.T) {
	onHost(t, `rmdir /run/systemd/system /run/systemd
printf '#!/bin/sh
case $* in
*"trash purge"*) [ ! -t 0 ] || case $* in *--force*) ;; *) echo "$*" >>/tmp/asked ;; esac ;;
*status*) echo 0 ;;
*host?ls*) echo active ;;
*count=100*) exit 1 ;;
esac
' >bin/docker-mos
for p in bin/docker-set /tmp/cmd/docker /tmp/cmd/go; do ln -s /tmp/repo/bin/docker-mos $p; done
perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Local => "/run/mos/mos-lvm.sock", Listen => 1) or die'
for line in deploy/demo deploy/down; do
	script -qec $line /tmp/said >/dev/null </dev/null || { cat /tmp/said; exit 1; }
done
is "what was asked" "$(cat /tmp/asked 2>/dev/null)" ""
`)
}

// TestDownEndsNothingOfAnotherCopy, but names it, as up does; and whose copy is gone, by its process.
func TestDownEndsNothingOfAnotherCopy(t *testing.T) {
	onHost(t, `rmdir /run/systemd/system /run/systemd
printf '#!/bin/sh\nexit 1\n' >/tmp/cmd/docker
chmod 755 /tmp/cmd/docker
mkdir -p /tmp/other/bin
cp /bin/sleep /tmp/other/bin/mosd
/tmp/other/bin/mosd 1000 >/dev/null 2>&1 &
trap "kill $!" EXIT
echo $! >/run/mos/mosd.pid
refused "make down in /tmp/other" deploy/down
rm -r /tmp/other
refused "kill $!" deploy/down
kill -0 $!
`)
}

// TestOneThatDoesNotStartLeavesTheOthersInstalled: none of them is missing at the next boot.
func TestOneThatDoesNotStartLeavesTheOthersInstalled(t *testing.T) {
	onHost(t, `printf '#!/bin/sh\necho "systemctl $*" >>/tmp/did; case $* in restart*mosbridge*) exit 1 ;; esac\n' >/tmp/cmd/systemctl
refused "not all" deploy/install
for unit in mosbridge.socket mosbridge.service mos-lvm.socket mos-lvm.service mos-authz.socket mos-authz.service mosd.service mos-set-caps.service; do
	grep -q "enable.* $unit" /tmp/did || { echo "$unit is not enabled: $(cat /tmp/did)"; exit 1; }
done
for unit in mosbridge mos-lvm mos-authz mosd mos-scheduler; do
	grep -q "restart.* $unit.service" /tmp/did || { echo "$unit is not started: $(cat /tmp/did)"; exit 1; }
done
`)
}
