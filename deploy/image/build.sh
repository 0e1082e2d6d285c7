#!/usr/bin/env bash
# deploy/image/build.sh [IMAGE] [options of docker build]     default: respaldo:latest
#
# Fetches the wheels of requirements.txt, each by its hash, makes respaldo's own, and builds the image from them.
# BASE names another base image (default python:3.13-slim), PYTHON the interpreter here that fetches.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

image=${1:-respaldo:latest}
if [ $# -gt 0 ]; then shift; fi
base=${BASE:-python:3.13-slim}
python=${PYTHON:-python3}
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT

# The wheels are for the base's Python and machine, not for this one's.
version=$(docker run --rm --network none --entrypoint python3 "$base" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
machine=$(docker run --rm --network none --entrypoint uname "$base" -m)
platforms=()
for release in 2_34 2_28 2_17; do platforms+=(--platform "manylinux_${release}_$machine"); done
platforms+=(--platform "manylinux2014_$machine")

mkdir "$context/wheels"
cp deploy/image/Dockerfile "$context/"
cp requirements.txt "$context/wheels/"
# pip resolves markers for the Python that runs it, so lines for other versions are fetched and simply not used.
"$python" -m pip download --quiet --disable-pip-version-check --only-binary :all: --no-deps --python-version "$version" \
  "${platforms[@]}" --require-hashes --requirement requirements.txt --dest "$context/wheels"
# From a copy: what an earlier build left beside the sources must not get into this one.
mkdir "$context/source"
cp -R src pyproject.toml LICENSE README.md "$context/source/"
"$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$context/own" "$context/source"
rm -rf "$context/source"

DOCKER_BUILDKIT=${DOCKER_BUILDKIT:-0} docker build --quiet --build-arg "BASE=$base" --tag "$image" "$@" "$context"
