# SPDX-License-Identifier: Apache-2.0
# `make help` lists the targets. BCC is packaged for the distribution's own Python, so the virtual environment uses that
# one and sees its packages.

PYTHON := /usr/bin/python3
VENV := .venv
PREFIX := /usr/local
LIBRARY := $(PREFIX)/lib/oomtrace
# systemd reads units in both /usr/lib and /usr/local/lib. Only a PREFIX of the system has its configuration in /etc.
UNITS = $(STAGE)$(PREFIX)/lib/systemd/system
CONFIGURATION = $(STAGE)$(if $(filter /usr /usr/local,$(PREFIX)),,$(PREFIX))/etc
# What runs as root here loads no modules of the user whose environment root has kept.
export PYTHONNOUSERSITE := 1
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP
# Everything that pip downloads here is pinned by hash, the build requirements included. Builds are not isolated: for an
# isolated build pip downloads the build requirements without checking hashes. Twice quiet: pip 26 prints the build's
# warnings, such as that an editable installation is editable.
LOCKS := requirements/build.txt requirements/runtime.txt
LOCKED := --quiet --require-hashes $(LOCKS:%=--requirement %)
UNISOLATED := --quiet --quiet --no-deps --no-build-isolation
# $(call command,VENV,FLAGS) makes the command that pip has written start Python with these flags, and say in one line
# why it cannot start, such as at a limit on open files: with -S, Python itself has nothing to import before it runs the
# command. pip writes the path of Python to line 1, or to line 2 where line 1 has no room for it.
define command
	@sed -i -e '1s/^#!.*python[0-9.]*$$/& $(2)/' -e "2s/ \"\$$0\" / $(2)&/" -e '4,$$d' -e '/^[a-z ]/d' $(1)/bin/oomtrace
	$(call start,$(1)/bin/oomtrace)
endef
# $(call start,FILE,LINE) appends what the command runs; LINE is for a package, whose modules are in no venv.
define start
	@printf '%s\n' 'import sys' 'try:' \
		'    import os' '    for fd in [os.dup(0) for _ in range(3)] if sys.stdin else []:' '        os.close(fd)' \
		'    os.environ.setdefault("HOME", "/")  # site would look it up in /etc/passwd' \
		'    import site' '    site.main()' $(2) '    from ooMtrace.__main__ import run' \
		'except MemoryError:' '    sys.exit("oomtrace: cannot start: out of memory; check the limits (ulimit -a)")' \
		'except (ImportError, OSError) as error:' \
		'    sys.exit(f"oomtrace: cannot start: {error}; check the limits (ulimit -a), or reinstall oomtrace")' \
		'sys.exit(run())' >> $(1)
endef
# $(call documents,DIRECTORY): the man page and the completions, below share/.
define documents
	@mkdir -p $(addprefix $(1)/,$(dir $(DOCUMENTS)))
	$(PYTHON) -B -m deploy.manual > $(1)/man/man8/oomtrace.8
	$(PYTHON) -B -m deploy.completions bash > $(1)/bash-completion/completions/oomtrace
	$(PYTHON) -B -m deploy.completions zsh > $(1)/zsh/site-functions/_oomtrace
	$(PYTHON) -B -m deploy.completions fish > $(1)/fish/vendor_completions.d/oomtrace.fish
endef
DOCUMENTS := man/man8/oomtrace.8 bash-completion/completions/oomtrace zsh/site-functions/_oomtrace \
	fish/vendor_completions.d/oomtrace.fish
COMPILE = CUSTOM_COMPILE_COMMAND='make lock' $(VENV)/bin/pip-compile --quiet --generate-hashes --allow-unsafe \
	--strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host $(if $(UPGRADE),--upgrade)

# pip of Debian 11 says only that there is no setup.py.
CHECK_PYTHON = $(PYTHON) -c 'import sys; sys.version_info < (3, 10) and sys.exit("oomtrace needs Python 3.10 or later; \
	$(PYTHON) is %d.%d: use Debian 12, Ubuntu 22.04 or later" % sys.version_info[:2])'

.DEFAULT_GOAL := help
.PHONY: help demo story test test-unit test-host test-runtimes test-container test-pipeline test-busy test-vm \
	bench bench-host mutants fuzz logs-1g support-table vagrant-test vagrant-check check lock test-fleet \
	schemas format venv install install-service uninstall packages tree-packages test-packages vm-packages \
	vagrant-packages test-report browser-packages \
	vagrant-check-packages tracefs clean

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

demo: packages tracefs venv ## (root) install what is missing, make one harmless kill and show its line
	@if [ -t 1 ]; then $(VENV)/bin/oomtrace --pretty demo; else $(VENV)/bin/oomtrace demo; fi

story: tree-packages tracefs venv ## (root) kill a Sidekiq job; its line leads to the job and to the lock it left behind
	@$(VENV)/bin/python tests/story.py

# The host tests wait most of the time: the unit tests run meanwhile, and are printed after them.
UNIT_LOG := $(VENV)/unit.log
test: test-packages tracefs $(VENV)/dev ## (root) install what is missing and run all tests, real kills included
	@nice -n 19 $(VENV)/bin/pytest tests/unit > $(UNIT_LOG) 2>&1 & unit=$$!; \
	OOMTRACE_REQUIRE_KERNEL=1 $(VENV)/bin/pytest tests/host; host=$$?; \
	wait $$unit; unit=$$?; cat $(UNIT_LOG); exit $$((host | unit))

test-unit: $(VENV)/dev ## run the tests that need neither root nor a kernel
	$(VENV)/bin/pytest tests/unit

test-host: tracefs $(VENV)/dev ## (root) run the tests that make real kills on this kernel
	$(VENV)/bin/pytest tests/host

test-runtimes: test-packages tracefs $(VENV)/dev ## (root) make 20 kills of each kind in dockerd, containerd (CRI) and podman
	OOMTRACE_REQUIRE_KERNEL=1 OOMTRACE_RUNTIME_KILLS=20 $(VENV)/bin/pytest tests/host/test_runtimes.py

test-container: test-packages tracefs $(VENV)/dev ## (root) make the image's tree and run it with the rights of the DaemonSet, by runc
	OOMTRACE_REQUIRE_KERNEL=1 OOMTRACE_CONTAINER=1 $(VENV)/bin/pytest tests/host/test_container.py

test-pipeline: test-packages tracefs $(VENV)/dev ## (root) run the examples of deploy/pipeline, logrotate in a storm and Vector's VRL at length
	OOMTRACE_REQUIRE_KERNEL=1 OOMTRACE_PIPELINE=1 $(VENV)/bin/pytest -s tests/host/test_pipelines.py tests/host/test_logrotate.py

test-report: browser-packages build/axe/node_modules $(VENV)/dev ## (root) make the report of 100,000 lines, and check it in Chromium with axe-core
	PYTHONPATH=tests $(VENV)/bin/python tests/report.py build/axe/node_modules/axe-core/axe.min.js build/report

build/axe/node_modules:
	@mkdir -p build/axe
	@cd build/axe && npm install --silent --no-audit --no-fund --ignore-scripts --no-save axe-core@4.14.1 >&2

test-busy: test-packages tracefs $(VENV)/dev ## (root) run the host tests while two storms of unrelated kills go on beside them
	OOMTRACE_REQUIRE_KERNEL=1 PYTHONPATH=tests $(VENV)/bin/python tests/busy.py $(VENV)/bin/pytest tests/host

mutants: test-packages tracefs $(VENV)/dev ## (root) put known faults into a copy, one at a time: a test must fail; ONLY="name parts"
	$(VENV)/bin/python -m tests.mutants $(ONLY)

VM_RUN = $(VENV)/bin/python -m tests.vm.run $(if $(ARCH),--arch $(ARCH)) $(if $(KERNEL),--kernel $(KERNEL)) $(VM)
test-vm: vm-packages $(VENV)/dev ## (root) boot real kernels in QEMU and run every scenario on each; KERNEL=6.1, ARCH=amd64 or arm64 for all
	rm -rf build dist
	$(VENV)/bin/pip wheel $(UNISOLATED) --wheel-dir dist ./ >&2
	! $(VM_RUN) --list | grep -q -- '-systemd$$' || $(MAKE) --no-print-directory deb >&2
	$(VM_RUN) --wheel dist/*.whl --deb dist/*.deb

bench: vm-packages $(VENV)/dev ## (root) compare the cost with other tools' in emulated guests; writes docs/cost.md; KERNEL=6.1
	rm -rf build dist
	$(VENV)/bin/pip wheel $(UNISOLATED) --wheel-dir dist ./ >&2
	PYTHONPATH=tests $(VENV)/bin/python -m bench.run --wheel dist/*.whl $(if $(KERNEL),--kernel $(KERNEL))

bench-host: test-packages tracefs $(VENV)/dev ## (root) measure the cost on this host; writes docs/cost.md and docs/growth-*.svg
	PYTHONPATH=tests $(VENV)/bin/python -m bench.host

RUNS := 100000
fuzz: $(VENV)/fuzz ## fuzz the parsers; RUNS=1000000, TARGET=kmsg, FILE=...
	cd tests && ../$(VENV)/bin/python -m fuzz $(or $(TARGET),all) -print_final_stats=1 $(or $(abspath $(FILE)),-runs=$(RUNS))

logs-1g: $(VENV)/dev ## time `oomtrace logs` on a log of 1 GB with 1,000 reports, beside grep
	cd tests && ../$(VENV)/bin/python -m support.logcost

support-table: $(VENV)/dev ## add the results of the last `make test-vm` to tests/vm/results.tsv; write docs/support.md
	$(VENV)/bin/python -m tests.vm.support

vagrant-test: vagrant-packages venv ## (root) `vagrant up` the local box, run the demo and all scenarios in it; ONLY="memcg swap"
	$(VENV)/bin/python tests/vagrant.py $(ONLY)

vagrant-check: vagrant-check-packages ## (root) validate the Vagrantfile and its scripts
	cd vagrant && vagrant validate
	shellcheck vagrant/oomtrace-scenario vagrant/provision.sh vagrant/box/*.sh

check: $(VENV)/dev ## run the formatters (check only), linters and type checker
	$(VENV)/bin/pytest -q tests/unit/test_linters.py

lock: $(VENV)/lock ## write requirements/*.txt from pyproject.toml; UPGRADE=1 for the newest versions
	$(COMPILE) --only-build-deps --build-deps-for=wheel --output-file requirements/build.txt pyproject.toml
	$(COMPILE) --output-file requirements/runtime.txt pyproject.toml

schemas: venv ## write deploy/schemas from the record's definition
	for file in duckdb.sql clickhouse.sql polars_schema.py elasticsearch.json; do \
		$(VENV)/bin/python -m deploy.table_schemas $$file > deploy/schemas/$$file || exit 1; done

# DuckDB, polars and ClickHouse's engine are large: they have a directory of their own, and other tests do not see them.
ENGINES := $(VENV)/engines
test-fleet: $(VENV)/dev $(ENGINES)/installed ## run docs/fleet.md's queries in DuckDB and ClickHouse's engine; LINES=1000000
	PYTHONPATH=$(ENGINES) FLEET_LINES=$(LINES) $(VENV)/bin/pytest -s tests/fleet

$(ENGINES)/installed: $(VENV)/dev pyproject.toml
	@rm -rf $(ENGINES)
	@$(VENV)/bin/pip install --quiet --target $(ENGINES) --group fleet >&2
	@touch $@

format: $(VENV)/dev ## apply the formatters
	$(VENV)/bin/ruff format .
	$(VENV)/bin/clang-format -i bench/*.c bpf/*.c bpf/*.h tests/support/*.c tests/unit/bpf/*.[ch]

venv: $(VENV)/bin/oomtrace ## make .venv/bin/oomtrace and nothing else

.PHONY: stage man completions deb deb-packages release archives test-deb

stage: ## collect below DESTDIR what a package has that depends on BCC, pyroute2 and orjson; PREFIX=/usr
	@$(CHECK_PYTHON)
	@cd ooMtrace && find . -name '*.py' -exec install -D -m 644 {} $(STAGE)$(LIBRARY)/ooMtrace/{} \; -o \
		-name py.typed -exec install -D -m 644 {} $(STAGE)$(LIBRARY)/ooMtrace/{} \;
	@cd bpf && find . -name '*.[ch]' -exec install -D -m 644 {} $(STAGE)$(LIBRARY)/ooMtrace/bpf/{} \;
	@mkdir -p $(STAGE)$(PREFIX)/bin
	@printf '#!%s -IS\n' $(PYTHON) > $(STAGE)$(PREFIX)/bin/oomtrace
	$(call start,$(STAGE)$(PREFIX)/bin/oomtrace,$(PRIVATE))
	@chmod 755 $(STAGE)$(PREFIX)/bin/oomtrace
	$(call documents,$(STAGE)$(PREFIX)/share)
	@[ ! -e deploy/systemd ] || $(MAKE) --no-print-directory install-service

# A package may bring modules for one version of Python: the Debian package has orjson for that of Debian 12.
PRIVATE = '    sys.path[:0] = ["$(LIBRARY)", "$(LIBRARY)/python%d.%d" % sys.version_info[:2]]'

man: ## write the man page and the completions to build/share
	$(call documents,build/share)

completions: man ## the same as `make man`

DIST := dist
WHEELS := $(VENV)/wheels
deb: deb-packages $(WHEELS)/fetched ## (root) build the Debian package, for Debian 12 and 13, in dist/
	deploy/build-deb $(WHEELS) $(DIST)

# for the Python of Debian 12, which has no package of orjson
$(WHEELS)/fetched: requirements/runtime.txt $(VENV)/bin/oomtrace
	@rm -rf $(WHEELS)
	@$(VENV)/bin/pip download --quiet --no-deps --only-binary=:all: --require-hashes --python-version 3.11 \
		--platform manylinux_2_17_$$(uname -m) --requirement requirements/runtime.txt --dest $(WHEELS) >&2
	@touch $@

release: deb-packages venv ## (root) build what a release consists of, with checksums, in dist/ (RELEASE.md)
	@test -z "$$(git status --porcelain)" || { echo "there are uncommitted changes: commit them first" >&2; exit 1; }
	@$(PYTHON) -B -m deploy.release check "$$(git describe --tags --exact-match 2>/dev/null)"
	rm -rf $(DIST)
	$(MAKE) --no-print-directory archives deb
	cd $(DIST) && sha256sum -- * > SHA256SUMS

# the wheel and the source archive; setuptools leaves the time of the build in the latter
archives: venv
	rm -rf build/lib build/bdist.* oomtrace.egg-info
	export SOURCE_DATE_EPOCH=$$($(PYTHON) -B -m deploy.release epoch) && umask 022 && $(VENV)/bin/python -c \
		'from setuptools.build_meta import *; build_wheel("$(DIST)"); build_sdist("$(DIST)")' >&2 && \
	rm -rf build/lib build/bdist.* oomtrace.egg-info build/sdist && mkdir -p build/sdist && \
	tar -xzf $(DIST)/oomtrace-*.tar.gz -C build/sdist && \
	tar -C build/sdist --sort=name --owner=0 --group=0 --numeric-owner --format=gnu --mode=u=rwX,go=rX --mtime=@$$SOURCE_DATE_EPOCH \
		-c $$(ls build/sdist) | gzip -9n > $(DIST)/$$(ls build/sdist).tar.gz

test-deb: test-packages $(WHEELS)/fetched $(VENV)/dev ## (root) build, install and purge the packages in Debian 12 and 13
	OOMTRACE_TEST_PACKAGES=1 $(VENV)/bin/pytest tests/host/test_deb.py

# Where packagers collect what is installed: the paths inside it are those without DESTDIR.
STAGE := $(if $(DESTDIR),$(abspath $(DESTDIR)))
# venv, pip and the bytecode have the paths that they were made with.
RELOCATE = grep -rlIF '$(STAGE)/' $(STAGE)$(LIBRARY)/bin $(STAGE)$(LIBRARY)/pyvenv.cfg | xargs sed -i 's|$(STAGE)/|/|g' && \
	find $(STAGE)$(LIBRARY) -name '*.pyc' -delete && \
	$(PYTHON) -I -m compileall -q -s $(STAGE) -p / $(STAGE)$(LIBRARY)

install: packages ## (root) install the command oomtrace for the whole system, below PREFIX (/usr/local)
	@$(CHECK_PYTHON)
	$(PYTHON) -I -m venv --system-site-packages $(STAGE)$(LIBRARY)
	rm -f $(STAGE)$(LIBRARY)/installed-tree # the checksum of what vagrant/provision.sh has installed
	$(STAGE)$(LIBRARY)/bin/python -I -m pip install $(LOCKED)
	$(STAGE)$(LIBRARY)/bin/python -I -m pip install $(UNISOLATED) --force-reinstall .
	$(call command,$(STAGE)$(LIBRARY),-IS) # no PYTHON* variables, no modules of the user whose HOME root has kept
	rm -rf build oomtrace.egg-info
	$(if $(STAGE),$(RELOCATE))
	mkdir -p $(STAGE)$(PREFIX)/bin
	ln -sf $(LIBRARY)/bin/oomtrace $(STAGE)$(PREFIX)/bin/oomtrace
	$(call documents,$(STAGE)$(PREFIX)/share)
	@$(MAKE) --no-print-directory install-service
	@$(if $(STAGE),,$(PREFIX)/bin/oomtrace prepare || true) # such as in a container: the first start compiles

# starts nothing, and leaves a configuration as it is
install-service:
	install -D -m 644 deploy/systemd/oomtrace.service $(UNITS)/oomtrace.service
	sed -i 's|^ExecStart=/usr/local/|ExecStart=$(PREFIX)/|' $(UNITS)/oomtrace.service
	install -D -m 644 deploy/logrotate/oomtrace $(CONFIGURATION)/logrotate.d/oomtrace
	test -e $(CONFIGURATION)/oomtrace.toml || test -L $(CONFIGURATION)/oomtrace.toml || \
		install -D -m 644 deploy/oomtrace.toml $(CONFIGURATION)/oomtrace.toml

uninstall: ## (root) remove what `make install` installed, but for a configuration that has been changed
	rm -f $(UNITS)/oomtrace.service $(CONFIGURATION)/logrotate.d/oomtrace
	! cmp -s deploy/oomtrace.toml $(CONFIGURATION)/oomtrace.toml || rm -f $(CONFIGURATION)/oomtrace.toml
	rm -rf $(STAGE)$(LIBRARY) $(STAGE)$(PREFIX)/bin/oomtrace $(STAGE)$(PREFIX)/bin/oomtrace-scenario \
		$(addprefix $(STAGE)$(PREFIX)/share/,$(DOCUMENTS)) $(if $(STAGE),,/var/cache/oomtrace)

deb-packages:
	@(for program in dpkg-buildpackage dh dh_python3; do command -v $$program || exit 1; done) >/dev/null || { \
		apt-get update -qq && apt-get install -qq -y --no-install-recommends dpkg-dev debhelper dh-python; } >&2

packages:
	@$(PYTHON) -c 'import bcc, ensurepip' 2>/dev/null || { \
		apt-get update -qq && apt-get install -qq -y --no-install-recommends python3-bpfcc python3-venv; } >&2

tree-packages: packages
	@command -v mmdebstrap >/dev/null && test -e /usr/share/keyrings/debian-archive-keyring.gpg || { \
		apt-get update -qq && apt-get install -qq -y --no-install-recommends mmdebstrap debian-archive-keyring; } >&2

test-packages: tree-packages deb-packages
	@command -v cc >/dev/null && command -v shellcheck >/dev/null || { \
		apt-get update -qq && apt-get install -qq -y --no-install-recommends gcc libc6-dev shellcheck; } >&2

browser-packages: packages
	@(for program in chromium npm; do command -v $$program || exit 1; done) >/dev/null || { \
		apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium npm; } >&2

vm-packages: test-packages
	@(for program in qemu-system-x86_64 mmdebstrap sfdisk mke2fs; do command -v $$program || exit 1; done) >/dev/null || { \
		apt-get update -qq && apt-get install -qq -y --no-install-recommends qemu-system-x86 mmdebstrap fdisk \
			e2fsprogs debian-archive-keyring; } >&2
	@$(if $(findstring arm64,$(or $(ARCH)$(KERNEL),arm64)),(for program in qemu-system-aarch64 aarch64-linux-gnu-gcc; do \
		command -v $$program || exit 1; done) >/dev/null || { apt-get update -qq && apt-get install -qq -y \
			--no-install-recommends qemu-system-arm gcc-aarch64-linux-gnu libc6-dev-arm64-cross; } >&2)

# libvirt-daemon-system-sysv: for machines that were not booted by systemd
vagrant-packages: tree-packages vagrant-check-packages
	@(for program in libvirtd virsh qemu-system-x86_64 qemu-img dnsmasq iptables rsync ssh mcopy syslinux sfdisk mkfs.vfat \
		mke2fs; do command -v $$program || exit 1; done) >/dev/null || { \
		apt-get update -qq && apt-get install -qq -y --no-install-recommends libvirt-daemon-system \
			libvirt-daemon-system-sysv libvirt-clients qemu-system-x86 qemu-utils dnsmasq-base iptables rsync \
			openssh-client mtools syslinux syslinux-common fdisk dosfstools e2fsprogs; } >&2

vagrant-check-packages:
	@command -v vagrant >/dev/null && dpkg -s vagrant-libvirt >/dev/null 2>&1 && command -v shellcheck >/dev/null || { \
		apt-get update -qq && apt-get install -qq -y --no-install-recommends vagrant vagrant-libvirt shellcheck; } >&2

tracefs:
	@mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing

$(VENV)/bin/oomtrace: pyproject.toml $(LOCKS)
	@$(CHECK_PYTHON)
	@$(PYTHON) -m venv --system-site-packages $(VENV) >&2
	@$(VENV)/bin/pip install $(LOCKED) >&2
	@$(VENV)/bin/pip install $(UNISOLATED) --editable . >&2
	$(call command,$(VENV),-S)
	@touch $@

$(VENV)/fuzz: $(VENV)/dev

# Dependency groups need pip 25.1; Debian 12 has 23.0.
$(VENV)/dev $(VENV)/fuzz $(VENV)/lock: $(VENV)/bin/oomtrace
	@$(VENV)/bin/python -m pip install --quiet pip==26.3 >&2
	@$(VENV)/bin/pip install --quiet --group $(@F) >&2
	@touch $@

clean: ## remove what was built here
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .fuzz
