# SPDX-License-Identifier: Apache-2.0
# Helpers for Recurve's own targets: one static library a folder, one test binary a folder.
include_guard(GLOBAL)
include(GoogleTest)

# recurve_flags: what every target of ours compiles with (third-party headers stay SYSTEM).
add_library(recurve_flags INTERFACE)
target_compile_features(recurve_flags INTERFACE cxx_std_20)
target_include_directories(recurve_flags INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(recurve_flags INTERFACE
  -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wold-style-cast -Woverloaded-virtual -Wimplicit-fallthrough
  -Werror
  # A row's bits must not depend on how the compiler fuses: fma is written out where it is meant.
  -ffp-contract=off)
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  target_compile_options(recurve_flags INTERFACE -Wthread-safety)  # engine/base/mutex.h
endif()
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  # The baseline. What needs more (AVX-512, AMX) is compiled per file and chosen at run time.
  target_compile_options(recurve_flags INTERFACE -march=x86-64-v3)
endif()

set(RECURVE_SANITIZE "" CACHE STRING "Sanitizers for our targets: empty, 'address' (with UBSan) or 'thread'")
if(RECURVE_SANITIZE STREQUAL "address")
  # Abseil's hash maps trip the three nonnull checks under g++ 14. The check of vptrs opens a pipe to see whether an
  # object can be read, and calls each one invalid where descriptors have run out, as tests have them do.
  set(_sanitizers -fsanitize=address,undefined -fno-sanitize-recover=all
      -fno-sanitize=null,nonnull-attribute,returns-nonnull-attribute,vptr -fno-omit-frame-pointer)
elseif(RECURVE_SANITIZE STREQUAL "thread")
  set(_sanitizers -fsanitize=thread -fno-omit-frame-pointer)
elseif(NOT RECURVE_SANITIZE STREQUAL "")
  message(FATAL_ERROR "RECURVE_SANITIZE is '${RECURVE_SANITIZE}'; expected empty, 'address' or 'thread'")
endif()
target_compile_options(recurve_flags INTERFACE ${_sanitizers})
target_link_options(recurve_flags INTERFACE ${_sanitizers})

# recurve_optimize_little(): of this folder and those below, whose code takes longer to optimize than its tests run.
# AddressSanitizer and UBSan watch it at -O0: half the time to compile.
macro(recurve_optimize_little)
  if(RECURVE_SANITIZE STREQUAL "address" AND NOT RECURVE_BUILD_FUZZERS)
    add_compile_options(-O0)
    set(RECURVE_HEADERS recurve_headers_O0)
  endif()
endmacro()

# recurve_link_statically(NAMESPACE): the archives in place of the shared libraries of a package that has both, as
# Debian's Abseil does, whose configuration knows the shared ones alone; and those of the compiler.
macro(recurve_link_statically namespace)
  get_property(_imported DIRECTORY PROPERTY IMPORTED_TARGETS)
  list(FILTER _imported INCLUDE REGEX "^${namespace}::")
  foreach(_target ${_imported})
    get_target_property(_configurations ${_target} IMPORTED_CONFIGURATIONS)
    foreach(_configuration ${_configurations})
      get_target_property(_location ${_target} IMPORTED_LOCATION_${_configuration})
      if(_location MATCHES "[.]so")
        string(REGEX REPLACE "[.]so.*" ".a" _archive ${_location})
        set_target_properties(${_target} PROPERTIES IMPORTED_LOCATION_${_configuration} ${_archive})
      endif()
    endforeach()
  endforeach()
  target_link_options(recurve_flags INTERFACE -static-libstdc++ -static-libgcc)
endmacro()

# Headers that nearly every source includes, compiled once for all libraries: about half of a small source's compilation.
# Fuzzers and the check of locks, which clang compiles, do without, so that a source that leaves out an include of its
# own is noticed.
function(recurve_headers target)
  set(source ${PROJECT_BINARY_DIR}/${target}.cc)
  file(CONFIGURE OUTPUT ${source} CONTENT "")
  add_library(${target} STATIC EXCLUDE_FROM_ALL ${source})
  target_link_libraries(${target} PRIVATE recurve_flags)
  target_compile_options(${target} PRIVATE ${ARGN})
  target_precompile_headers(${target} PRIVATE
    <algorithm> <chrono> <functional> <map> <memory> <string> <vector>
    <absl/status/statusor.h> <absl/strings/str_cat.h>)
endfunction()
set(RECURVE_HEADERS)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  recurve_headers(recurve_headers)
  set(RECURVE_HEADERS recurve_headers)
  if(RECURVE_SANITIZE STREQUAL "address")
    recurve_headers(recurve_headers_O0 -O0)
  endif()
endif()

# recurve_library(NAME name SRCS file... [DEPS target...])
# Static library `recurve_<name>`; without sources an INTERFACE library. DEPS are PUBLIC.
function(recurve_library)
  cmake_parse_arguments(ARG "" "NAME" "SRCS;DEPS" ${ARGN})
  set(target recurve_${ARG_NAME})
  if(ARG_SRCS)
    add_library(${target} STATIC ${ARG_SRCS})
    target_link_libraries(${target} PUBLIC ${ARG_DEPS} PRIVATE recurve_flags)
    target_include_directories(${target} PUBLIC ${PROJECT_SOURCE_DIR})
    if(RECURVE_HEADERS)
      target_precompile_headers(${target} REUSE_FROM ${RECURVE_HEADERS})
    endif()
    if(RECURVE_CHECK_LOCKS)
      recurve_check_locks(${target} SRCS ${ARG_SRCS} DEPS ${ARG_DEPS})
    endif()
  else()
    add_library(${target} INTERFACE)
    target_link_libraries(${target} INTERFACE ${ARG_DEPS})
    target_include_directories(${target} INTERFACE ${PROJECT_SOURCE_DIR})
  endif()
endfunction()

# recurve_check_locks(TARGET SRCS file... [DEPS target...])
# Part of `recurve_locks`: those of a library's sources that take locks, themselves or in the header of their name.
function(recurve_check_locks target)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS" ${ARGN})
  set(locking)
  foreach(source ${ARG_SRCS})
    string(REGEX REPLACE "\\.cc$" ".h" header ${source})
    foreach(file ${source} ${header})
      set(path ${CMAKE_CURRENT_SOURCE_DIR}/${file})
      if(EXISTS ${path})
        set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${path})
        file(STRINGS ${path} includes REGEX "^#include \"(engine/base|absl/synchronization)/mutex\\.h\"")
        if(includes)
          list(APPEND locking ${source})
        endif()
      endif()
    endforeach()
  endforeach()
  if(locking)
    list(REMOVE_DUPLICATES locking)
    add_library(${target}_locks OBJECT ${locking})
    target_link_libraries(${target}_locks PRIVATE ${ARG_DEPS} recurve_flags)
    add_dependencies(recurve_locks ${target}_locks)
  endif()
endfunction()

# recurve_binary(NAME name SRCS file... [DEPS target...]): an executable in <build>/bin. No test runs it under a
# sanitizer, so none is built there.
function(recurve_binary)
  cmake_parse_arguments(ARG "" "NAME" "SRCS;DEPS" ${ARGN})
  add_executable(${ARG_NAME} ${ARG_SRCS})
  target_link_libraries(${ARG_NAME} PRIVATE ${ARG_DEPS} recurve_cpu_baseline recurve_flags)
  set_target_properties(${ARG_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
  if(RECURVE_SANITIZE)
    set_target_properties(${ARG_NAME} PROPERTIES EXCLUDE_FROM_ALL ON)
  endif()
endfunction()

# recurve_test_headers: what nearly every test includes, compiled once for all of them; without it, more than half of
# a small test's compilation. An executable, since those that use it must be compiled as it is.
function(recurve_test_headers)
  set(main ${PROJECT_BINARY_DIR}/test_headers.cc)
  file(CONFIGURE OUTPUT ${main} CONTENT "int main() {}\n")
  add_executable(recurve_test_headers EXCLUDE_FROM_ALL ${main})
  target_link_libraries(recurve_test_headers PRIVATE absl::statusor absl::strings)
  recurve_test_options(recurve_test_headers)
  target_precompile_headers(recurve_test_headers PRIVATE
    <algorithm> <chrono> <functional> <map> <memory> <random> <string> <thread> <vector>
    <absl/status/statusor.h> <absl/strings/str_cat.h> <gmock/gmock.h> <gtest/gtest.h>)
endfunction()

# recurve_test_options(TARGET): how tests are compiled.
function(recurve_test_options target)
  target_link_libraries(${target} PRIVATE recurve_flags GTest::gmock GTest::gtest_main)
  # Of a test's time most goes into its compilation: a third less than with the -O3 of what it tests, and under
  # AddressSanitizer nearly half if UBSan looks at what is tested alone.
  target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O1>)
  if(RECURVE_SANITIZE STREQUAL "address")
    target_compile_options(${target} PRIVATE -O0 -fno-sanitize=undefined)
  endif()
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # They see faults in `text + string` that are not there, and a precompiled header is not the system's for them.
    target_compile_options(${target} PRIVATE -Wno-restrict -Wno-array-bounds -Wno-stringop-overflow)
    if(RECURVE_SANITIZE AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)  # hides from it what is initialized where
      target_compile_options(${target} PRIVATE -Wno-maybe-uninitialized)
    endif()
  endif()
endfunction()

# recurve_test(NAME name [SRCS file...] [ONE_THREAD file...] [DEPS target...] [TIMEOUT seconds]
#              [PROPERTIES property value...] [MORE part])
# GoogleTest binary `<name>_test`; each TEST is one ctest case. ONE_THREAD are sources whose tests run in one thread:
# ThreadSanitizer has nothing to find there and leaves them out. With MORE it is of this part of the second tier, built
# for it alone, and one case, more.<name>.
function(recurve_test)
  cmake_parse_arguments(ARG "" "NAME;TIMEOUT;MORE" "SRCS;ONE_THREAD;DEPS;PROPERTIES" ${ARGN})
  if(NOT RECURVE_SANITIZE STREQUAL "thread")
    list(APPEND ARG_SRCS ${ARG_ONE_THREAD})
  endif()
  if(NOT RECURVE_BUILD_TESTS OR NOT ARG_SRCS)
    return()
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  set(target ${ARG_NAME}_test)
  add_executable(${target} ${ARG_SRCS})
  target_link_libraries(${target} PRIVATE ${ARG_DEPS})
  recurve_test_options(${target})
  target_precompile_headers(${target} REUSE_FROM recurve_test_headers)
  if(ARG_MORE)
    set_target_properties(${target} PROPERTIES EXCLUDE_FROM_ALL TRUE)
    add_test(NAME more.${ARG_NAME} COMMAND ${target} --gtest_brief=1)
    set_tests_properties(more.${ARG_NAME} PROPERTIES TIMEOUT ${ARG_TIMEOUT} ${ARG_PROPERTIES})
    recurve_second_tier(${ARG_MORE} more.${ARG_NAME})
    add_dependencies(recurve_more_${ARG_MORE} ${target})
    return()
  endif()
  gtest_discover_tests(${target} DISCOVERY_MODE PRE_TEST
    PROPERTIES TIMEOUT ${ARG_TIMEOUT} ${ARG_PROPERTIES})
endfunction()

# recurve_python_test(NAME name COMMAND argument... [PROPERTIES property value...])
# Runs the tests' Python interpreter in the source directory.
function(recurve_python_test)
  cmake_parse_arguments(ARG "" "NAME" "COMMAND;PROPERTIES" ${ARGN})
  add_test(NAME ${ARG_NAME} COMMAND ${RECURVE_PYTHON} ${ARG_COMMAND} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(${ARG_NAME} PROPERTIES TIMEOUT 900 ${ARG_PROPERTIES})
endfunction()

# recurve_second_tier(PART TEST...): these ctest cases are of the second tier, in this part of it. What they need that
# is not built anyway, recurve_more_PART builds.
function(recurve_second_tier part)
  file(STRINGS ${PROJECT_SOURCE_DIR}/run parts REGEX "^readonly MORE_TESTS=.*[( ]${part}:")
  if(NOT parts)
    message(FATAL_ERROR "./run has no part '${part}' in MORE_TESTS, so it would never run: ${ARGN}")
  endif()
  set_property(TEST ${ARGN} APPEND PROPERTY LABELS more-${part})
  if(NOT TARGET recurve_more_${part})
    add_custom_target(recurve_more_${part})
  endif()
endfunction()
