# SPDX-License-Identifier: Apache-2.0
# Configures what .dockerignore lets into the image's build, as the Dockerfile does: the build must
# need nothing else. Run as: cmake -DSOURCE=<repository> -DSCRATCH=<folder of its own> -P this
file(REMOVE_RECURSE ${SCRATCH})
file(STRINGS ${SOURCE}/.dockerignore kept REGEX "^!")
foreach(path ${kept})
  string(SUBSTRING ${path} 1 -1 path)
  if(NOT EXISTS ${SOURCE}/${path})
    message(FATAL_ERROR ".dockerignore keeps ${path}, which does not exist")
  endif()
  get_filename_component(folder ${SCRATCH}/source/${path} DIRECTORY)
  file(MAKE_DIRECTORY ${folder})
  file(CREATE_LINK ${SOURCE}/${path} ${SCRATCH}/source/${path} SYMBOLIC)
endforeach()

file(STRINGS ${SOURCE}/Dockerfile configure REGEX "cmake --preset cpu")
string(REGEX MATCHALL "-D[A-Z_]+=[A-Z]+" options "${configure}")
if(NOT options)
  message(FATAL_ERROR "the Dockerfile has no line with cmake --preset cpu and its options")
endif()
execute_process(COMMAND ${CMAKE_COMMAND} --preset cpu ${options}
  WORKING_DIRECTORY ${SCRATCH}/source COMMAND_ERROR_IS_FATAL ANY)
