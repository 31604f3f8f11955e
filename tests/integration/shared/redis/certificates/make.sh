#!/bin/sh
# Makes the certificates of this folder anew, valid from 2024 to 2124. Needs openssl.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# sign NAME AUTHORITY EXTENSIONS: a key, and a certificate of it
sign() {
    openssl ecparam -name prime256v1 -genkey -noout -out "$work/$1.key"
    openssl req -new -key "$work/$1.key" -subj "/CN=test $1" -out "$work/$1.csr"
    printf '%b' "$3" >"$work/$1.ext"
    : >"$work/index"
    cat >"$work/ca.cnf" <<END
[ca]
database = $work/index
new_certs_dir = $work
default_md = sha256
policy = any
rand_serial = yes
[any]
commonName = supplied
END
    if [ "$1" = "$2" ]; then signer="-selfsign"; else signer="-cert $work/$2.crt"; fi
    # shellcheck disable=SC2086 -- two words
    openssl ca -batch -notext -config "$work/ca.cnf" -name ca $signer -keyfile "$work/$2.key" -in "$work/$1.csr" \
        -out "$work/$1.crt" -extfile "$work/$1.ext" -startdate 20240101000000Z -enddate 21240101000000Z
}

AUTHORITY='basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n'
sign ca ca "$AUTHORITY"
sign other_ca other_ca "$AUTHORITY"
LEAF='basicConstraints=critical,CA:FALSE\nauthorityKeyIdentifier=keyid\n'
sign server ca "${LEAF}subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n"
sign elsewhere ca "${LEAF}subjectAltName=DNS:elsewhere.example\nextendedKeyUsage=serverAuth\n"
sign client ca "${LEAF}subjectAltName=DNS:client.example\nextendedKeyUsage=clientAuth\n"

cp "$work/ca.crt" ca.pem
cp "$work/other_ca.crt" other_ca.pem
for name in server elsewhere client; do cat "$work/$name.crt" "$work/$name.key" >$name.pem; done
