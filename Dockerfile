# One image for the operator and for the SDK's examples.
#
#   docker build -t waypost:0.1.0 .
#   buildah bud -t waypost:0.1.0 .
#
# BASE may be any Linux image with Python 3.11 or newer that can make virtual environments. Another package index than
# pip's default, or its credentials: --secret id=pip.conf,src=FILE. The file is there while pip runs and in no layer.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
WORKDIR /build
# What runs goes into /opt/waypost, without pip; what builds stays behind in /build.
RUN python3 -m venv tools && python3 -m venv --without-pip /opt/waypost
COPY requirements-build.lock requirements-image.lock ./
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    tools/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements-build.lock \
    && tools/bin/pip --python /opt/waypost/bin/python install --no-cache-dir --disable-pip-version-check \
        --require-hashes --only-binary=:all: -r requirements-image.lock
COPY pyproject.toml README.md LICENSE source/
COPY sdk source/sdk
COPY operator source/operator
RUN tools/bin/pip wheel --no-cache-dir --disable-pip-version-check --no-index --no-deps --no-build-isolation \
        --wheel-dir wheels ./source \
    && tools/bin/pip --python /opt/waypost/bin/python install --no-cache-dir --disable-pip-version-check \
        --no-index --no-deps wheels/*.whl

FROM ${BASE}
COPY --from=build /opt/waypost /opt/waypost
COPY examples /examples
ENV PATH=/opt/waypost/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1
WORKDIR /examples
# A number, so that Kubernetes can see that it isn't root.
USER 65532:65532
CMD ["python", "-m", "waypost_operator"]
