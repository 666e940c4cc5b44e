#!/bin/sh
# A Postfix that keeps all mail in /mail/postfix: port 25 for everybody, port 587 after STARTTLS and AUTH.
set -eu
mkdir -p /mail/postfix && chown mail:mail /mail/postfix
cp /peers/main.cf /etc/postfix/main.cf
postconf -M -X smtp/inet
postconf -M '25/inet=25 inet n - n - - smtpd'
postconf -M '587/inet=587 inet n - n - - smtpd'
postconf -P '587/inet/smtpd_tls_security_level=encrypt' \
  '587/inet/smtpd_relay_restrictions=permit_sasl_authenticated,reject' \
  '587/inet/smtpd_recipient_restrictions=permit_sasl_authenticated,reject'
postconf -M 'postlog/unix-dgram=postlog unix-dgram n - n - 1 postlogd'
rm -f /var/spool/postfix/pid/* /var/lib/postfix/master.lock
exec /usr/sbin/postfix start-fg
