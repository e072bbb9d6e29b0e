add_executable(blkcat ${CMAKE_CURRENT_SOURCE_DIR}/tools/blkcat.c)
target_link_libraries(blkcat PRIVATE formats engine)
add_executable(fsop ${CMAKE_CURRENT_SOURCE_DIR}/tools/fsop.c)
target_link_libraries(fsop PRIVATE formats engine)
