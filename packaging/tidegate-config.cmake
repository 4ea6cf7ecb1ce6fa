# find_package(tidegate) gives the targets tidegate::tidegate (shared) and tidegate::static.
get_filename_component(_tidegate_libdir "${CMAKE_CURRENT_LIST_DIR}/../.." ABSOLUTE)
get_filename_component(_tidegate_prefix "${_tidegate_libdir}/.." ABSOLUTE)

if(NOT TARGET tidegate::tidegate)
  add_library(tidegate::tidegate SHARED IMPORTED)
  set_target_properties(tidegate::tidegate PROPERTIES
    IMPORTED_LOCATION "${_tidegate_libdir}/libtidegate.so.0"
    IMPORTED_SONAME "libtidegate.so.0"
    INTERFACE_INCLUDE_DIRECTORIES "${_tidegate_prefix}/include")
  add_library(tidegate::static STATIC IMPORTED)
  set_target_properties(tidegate::static PROPERTIES
    IMPORTED_LOCATION "${_tidegate_libdir}/libtidegate.a"
    INTERFACE_INCLUDE_DIRECTORIES "${_tidegate_prefix}/include"
    INTERFACE_LINK_LIBRARIES "gcc_s;pthread;m;dl;c")
endif()
