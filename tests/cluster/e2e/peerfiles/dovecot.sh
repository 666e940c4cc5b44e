#!/bin/sh
# A Dovecot as /peers/dovecot.conf has it.
set -eu
mkdir -p /mail/dovecot && chown mail:mail /mail/dovecot
rm -f /run/dovecot/master.pid
exec dovecot -F -c /peers/dovecot.conf
